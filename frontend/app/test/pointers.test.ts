import { describe, expect, it } from "vitest";
import { amongst, COLOURS, colourOf, FADING_MS, PROGRAM_COLOUR, SHOWN_MS, spotOf, stillShown, withPointings } from "../src/viewer/pointed";
import { contrast, channels } from "./colours";

const WHITE = channels("#ffffff");
const NONE = new Map();

function at(x: number, y = 0, source = "main") {
  return { source, at: { x, y } };
}

describe("the colours of pointers", () => {
  it("let a white name be read: 4.5:1", () => {
    for (const colour of [...COLOURS, PROGRAM_COLOUR]) {
      expect(contrast(channels(colour), WHITE), colour).toBeGreaterThanOrEqual(4.5);
    }
  });

  it("stay with a peer, are spread over peers, and are not those of programs", () => {
    const ids = Array.from({ length: 64 }, (_, n) => `0b7c${String(n)}-8d1e`);
    expect(ids.map(colourOf)).toEqual(ids.map(colourOf));
    expect(new Set(ids.map(colourOf)).size).toBe(COLOURS.length);
    expect(colourOf(null)).toBe(PROGRAM_COLOUR);
    expect(COLOURS).not.toContain(PROGRAM_COLOUR);
  });
});

describe("what is known of pointers", () => {
  it("is the newest of each, until somebody points nowhere any more", () => {
    let known = withPointings(NONE, [{ peerId: "a", place: at(1) }, { place: at(2) }], 10);
    known = withPointings(known, [{ peerId: "a", place: at(3, 0, "other") }, { peerId: "b" }], 20);
    expect([...known.values()]).toEqual([
      { peerId: "a", ...at(3, 0, "other"), since: 20 },
      { peerId: null, ...at(2), since: 10 },
    ]);
    expect([...withPointings(known, [{ peerId: "a" }], 30).keys()]).toEqual([null]);
  });

  it("is forgotten of who has left or may not steer, never of programs", () => {
    const known = withPointings(NONE, [{ place: at(0) }, ...["a", "b", "c"].map((peerId) => ({ peerId, place: at(1) }))], 0);
    const people = [{ peerId: "a", role: "controller" }, { peerId: "b", role: "viewer" }] as const;
    expect([...amongst(known, people).keys()]).toEqual([null, "a"]);
  });

  it("fades when nothing moves", () => {
    const known = withPointings(withPointings(NONE, [{ peerId: "a", place: at(1) }], 0), [{ peerId: "b", place: at(1) }], 500);
    const end = SHOWN_MS + FADING_MS;
    expect([...stillShown(known, end - 1).keys()]).toEqual(["a", "b"]);
    expect([...stillShown(known, end).keys()]).toEqual(["b"]);
    expect(stillShown(known, end + 500).size).toBe(0);
  });
});

describe("the spot of a pointer", () => {
  const picture = { width: 640, height: 360 };
  const surface = { width: 800, height: 600 };
  // Of a picture with bars above and below, of one that is shown 1:1, and of one that is enlarged and moved, bars and all.
  const fits = { left: 0, top: 0, width: 800, height: 600 };
  const native = { left: 80, top: 120, width: 640, height: 360 };
  const enlarged = { left: -400, top: -250, width: 1600, height: 1200 };

  it("is where its pixel is", () => {
    for (const [x, y, rect, spot] of [
      [0, 0, fits, [0, 75]],
      [320, 180, fits, [400, 300]],
      [100, 50, native, [180, 170]],
      [320, 180, enlarged, [400, 350]],
    ] as const) {
      expect(spotOf(at(x, y), picture, rect, surface)).toMatchObject({ x: spot[0], y: spot[1] });
    }
  });

  it("is nowhere beside the picture, outside of what is seen of it, and without a picture", () => {
    for (const [x, y, rect] of [[-1, 5, fits], [5, 361, fits], [641, 5, native], [10, 180, enlarged], [630, 180, enlarged]] as const) {
      expect(spotOf(at(x, y), picture, rect, surface), `${String(x)} ${String(y)}`).toBeNull();
    }
    expect(spotOf(at(0), { width: 0, height: 0 }, fits, surface)).toBeNull();
  });

  it("has its name where there is room", () => {
    const sides = (x: number, y: number) => spotOf(at(x, y), picture, { left: 0, top: 0, ...picture }, picture);
    expect(sides(10, 10)).toMatchObject({ left: false, above: false });
    expect(sides(630, 10)).toMatchObject({ left: true, above: false });
    expect(sides(10, 350)).toMatchObject({ left: false, above: true });
    const narrow = { width: 160, height: 90 };
    expect(spotOf(at(600, 10), picture, { left: 0, top: 0, ...narrow }, narrow)).toMatchObject({ left: false });
  });
});
