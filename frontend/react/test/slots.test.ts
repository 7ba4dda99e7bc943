import { describe, expect, it } from "vitest";
import { changedTiles, configsOf, explain, normalise } from "../src/slots";

describe("the tiles of a grid", () => {
  it("come from names, or from more than names", () => {
    const tiles = normalise([
      "door",
      { stream: "yard", quality: "360p", enlargedQuality: "native", label: "Yard" },
    ]);
    expect(tiles).toEqual([
      { slot: 0, stream: "door", quality: "", enlargedQuality: "", label: "door" },
      { slot: 1, stream: "yard", quality: "360p", enlargedQuality: "native", label: "Yard" },
    ]);
    expect(configsOf(tiles)).toEqual([
      { slot: 0, stream: "door", quality: "" },
      { slot: 1, stream: "yard", quality: "360p" },
    ]);
  });

  it("are switched only where they change", () => {
    const before = normalise(["a", "b", { stream: "c", quality: "360p" }]);
    const now = normalise(["a", "x", { stream: "c", quality: "" }]);
    expect(changedTiles(before, now).map(({ slot, stream }) => [slot, stream])).toEqual([
      [1, "x"],
      [2, "c"],
    ]);
    expect(changedTiles(now, now)).toEqual([]);
  });
});

describe("a status", () => {
  it("is explained when there is something to say", () => {
    const status = { slot: 0, stream: "a", quality: "" };
    expect(explain(null)).toBe("Connecting…");
    expect(explain({ ...status, status: "active", error: null })).toBeNull();
    expect(explain({ ...status, status: "error", error: "stream_not_found" })).toContain("no stream");
    expect(explain({ ...status, status: "offline", error: "timed out" })).toBe("timed out");
  });
});
