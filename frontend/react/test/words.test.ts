import { describe as group, expect, it } from "vitest";
import { describe as describeIn, ENGLISH } from "../src/words";

const describe = (...[state, hasPicture, nothingShown]: Parameters<typeof describeIn> extends [infer S, infer P, infer N, unknown] ? [S, P, N] : never): string | null =>
  describeIn(state, hasPicture, nothingShown, ENGLISH);

group("the words over a desktop", () => {
  it("are absent while the picture says all", () => {
    expect(describe({ kind: "connected" }, true, false)).toBeNull();
    const resuming = { kind: "reconnecting", attempt: 1, retryInMs: 0, mediaFlows: true } as const;
    expect(describe(resuming, true, false)).toBeNull();
  });

  it("say what is waited for", () => {
    expect(describe({ kind: "idle" }, false, false)).toBe("Connecting…");
    expect(describe({ kind: "connected" }, false, false)).toBe("Waiting for the first picture…");
    expect(describe({ kind: "connected" }, true, true)).toBe("Nothing is shown here");
    const lost = { kind: "reconnecting", attempt: 1, retryInMs: 100, mediaFlows: false } as const;
    expect(describe(lost, true, false)).toBe("Connection lost, trying again…");
  });

  it("say why it is over", () => {
    expect(describe({ kind: "ended", reason: { kind: "not-found" } }, false, false)).toBe("There is no such session");
    expect(describe({ kind: "ended", reason: { kind: "failed", message: "no display" } }, true, false)).toBe(
      "The session failed: no display",
    );
    const refused = { kind: "refused", message: "A token is needed.", code: "unauthorized" } as const;
    expect(describe({ kind: "ended", reason: refused }, false, false)).toBe("A token is needed.");
  });
});
