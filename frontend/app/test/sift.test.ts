import type { Streamer } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { skipsAfter } from "../src/list/backoff";
import { EVERYTHING, sift } from "../src/list/sift";
import { together, written } from "../src/viewer/combination";

type Listed = Pick<Streamer, "id" | "state" | "created" | "peers">;

function listed(id: string, state: Streamer["state"], created: string, peers: number): Listed {
  return { id, state, created, peers: Array.from({ length: peers }, () => ({})) as Streamer["peers"] };
}

const ALL = [
  listed("desk-10", "running", "2026-01-03T00:00:00Z", 0),
  listed("desk-9", "running", "2026-01-01T00:00:00Z", 2),
  listed("Cam", "failed", "2026-01-02T00:00:00Z", 0),
];

const ids = (streamers: readonly Listed[]): string => streamers.map(({ id }) => id).join(" ");

describe("the list of sessions", () => {
  it("is by name, numbers by their value, until something else is wished", () => {
    expect(ids(sift(ALL, EVERYTHING))).toBe("Cam desk-9 desk-10");
    expect(ids(sift(ALL, { ...EVERYTHING, sort: "newest" }))).toBe("desk-10 Cam desk-9");
    expect(ids(sift(ALL, { ...EVERYTHING, sort: "watched" }))).toBe("desk-9 Cam desk-10");
  });

  it("is searched by parts of names and filtered by state", () => {
    expect(ids(sift(ALL, { ...EVERYTHING, search: " ESK-1" }))).toBe("desk-10");
    expect(ids(sift(ALL, { ...EVERYTHING, state: "failed" }))).toBe("Cam");
    expect(ids(sift(ALL, { ...EVERYTHING, search: "desk", state: "failed" }))).toBe("");
  });
});

describe("a thumbnail", () => {
  it("is renewed less and less often while it stays the same, and at once when it does not", () => {
    let skips = 0;
    const seen = [true, true, true, true, true, false].map((same) => (skips = skipsAfter(skips, same)));
    expect(seen).toEqual([1, 3, 7, 11, 11, 0]);
  });
});

describe("keys together", () => {
  it("are pressed with the modifiers first, and written as on keyboards", () => {
    const codes = together(new Set(["AltLeft", "ControlLeft"]), "KeyK");
    expect(codes).toEqual(["ControlLeft", "AltLeft", "KeyK"]);
    expect(written(codes)).toBe("Ctrl+Alt+K");
    expect(written(["ControlLeft", "AltLeft", "Delete"])).toBe("Ctrl+Alt+Del");
  });
});
