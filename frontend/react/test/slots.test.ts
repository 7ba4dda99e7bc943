import { describe, expect, it } from "vitest";
import { changedTiles, configsOf, explain, moved, normalise } from "../src/slots";
import { ENGLISH } from "../src/words";

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

describe("the order of tiles", () => {
  it("changes by putting one to the place of another", () => {
    expect(moved([0, 1, 2, 3], 0, 2)).toEqual([1, 2, 0, 3]);
    expect(moved([0, 1, 2, 3], 3, 1)).toEqual([0, 3, 1, 2]);
    for (const [from, to] of [
      [1, 1],
      [7, 1],
      [1, 7],
    ] as const) {
      expect(moved([0, 1], from, to)).toEqual([0, 1]);
    }
  });
});

describe("a status", () => {
  it("is explained when there is something to say", () => {
    const status = { slot: 0, stream: "a", quality: "" };
    expect(explain(null, ENGLISH)).toBe("Connecting…");
    expect(explain({ ...status, status: "active", error: null }, ENGLISH)).toBeNull();
    expect(explain({ ...status, status: "error", error: "stream_not_found" }, ENGLISH)).toContain("no stream");
    expect(explain({ ...status, status: "offline", error: "timed out" }, ENGLISH)).toBe("timed out");
  });
});
