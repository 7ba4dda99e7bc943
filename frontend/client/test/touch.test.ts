import { describe, expect, it } from "vitest";
import { AGAIN_MS, type Gesture, Gestures, type Point } from "../src/input/gestures";
import { codeOf, StickyModifiers } from "../src/input/sticky";
import { diffArea, diffText, FILLER } from "../src/input/text";
import { placementOf, WHOLE, zoomed } from "../src/input/zoom";

/** Fingers on a picture, with a clock that is set by hand. */
class Hand {
  readonly gestures = new Gestures();
  now = 1000;
  readonly done: Gesture[] = [];

  down(finger: number, x: number, y: number): this {
    return this.#event("down", finger, { x, y });
  }

  move(finger: number, x: number, y: number): this {
    return this.#event("move", finger, { x, y });
  }

  up(finger: number, x: number, y: number): this {
    return this.#event("up", finger, { x, y });
  }

  cancel(finger: number, x: number, y: number): this {
    return this.#event("cancel", finger, { x, y });
  }

  /** Lets time pass, with all that is due in it. */
  wait(ms: number): this {
    const end = this.now + ms;
    for (let due = this.gestures.deadline; due !== null && due <= end; due = this.gestures.deadline) {
      this.now = due;
      this.done.push(...this.gestures.tick(due));
    }
    this.now = end;
    return this;
  }

  /** In words: kinds, with the button of clicks. */
  get words(): string {
    return this.done.map((action) => (action.type === "click" ? `click${action.button}` : action.type)).join(" ");
  }

  #event(type: "down" | "move" | "up" | "cancel", finger: number, at: Point): this {
    this.done.push(...this.gestures.handle({ type, finger, at }, this.now));
    return this;
  }
}

describe("gestures", () => {
  it("a tap is a click where the finger came down, whose release comes soon", () => {
    const hand = new Hand().down(1, 100, 50).wait(60).move(1, 103, 52).up(1, 103, 52);
    expect(hand.done).toEqual([{ type: "press", at: { x: 100, y: 50 } }]);
    hand.wait(AGAIN_MS);
    expect(hand.words).toBe("press release");
    expect(hand.gestures.deadline).toBeNull();
  });

  it("two taps are two clicks", () => {
    const hand = new Hand().down(1, 5, 5).up(1, 5, 5).wait(100).down(2, 8, 5).wait(50).up(2, 8, 5).wait(1000);
    expect(hand.words).toBe("press release click1");
  });

  it("taps at two places are two clicks as well", () => {
    const hand = new Hand().down(1, 5, 5).up(1, 5, 5).wait(100).down(2, 200, 5).wait(50).up(2, 200, 5).wait(1000);
    expect(hand.words).toBe("press release press release");
  });

  it("a finger that comes back and moves drags, within one press", () => {
    const hand = new Hand().down(1, 50, 50).up(1, 50, 50).wait(100).down(2, 52, 50).wait(900);
    hand.move(2, 90, 60).wait(500).move(2, 150, 80).up(2, 150, 80).wait(1000);
    expect(hand.words).toBe("press drag drag release");
    expect(hand.done.at(-1)).toEqual({ type: "release", at: { x: 150, y: 80 } });
  });

  it("a long press is a click with the right button, once", () => {
    const hand = new Hand().down(1, 30, 30).wait(499);
    expect(hand.words).toBe("");
    hand.wait(1).move(1, 200, 200).wait(2000).up(1, 200, 200).wait(1000);
    expect(hand.done).toEqual([{ type: "click", button: 3, at: { x: 30, y: 30 } }]);
  });

  it("two fingers that tap click with the right button, three with the middle one", () => {
    const two = new Hand().down(1, 30, 30).down(2, 90, 30).wait(80).up(1, 30, 30).up(2, 90, 30).wait(1000);
    expect(two.done).toEqual([{ type: "click", button: 3, at: { x: 60, y: 30 } }]);
    const three = new Hand().down(1, 30, 30).down(2, 90, 30).down(3, 140, 30).wait(80);
    expect(three.up(2, 90, 30).up(1, 30, 30).up(3, 140, 30).wait(1000).words).toBe("click2");
  });

  it("one finger that moves slides, and presses nothing", () => {
    const hand = new Hand().down(1, 10, 10).move(1, 15, 10).move(1, 40, 10).move(1, 45, 30).up(1, 45, 30).wait(1000);
    expect(hand.done).toEqual([
      { type: "slide", at: { x: 40, y: 10 }, dx: 30, dy: 0 },
      { type: "slide", at: { x: 45, y: 30 }, dx: 5, dy: 20 },
    ]);
  });

  it("two fingers that move together scroll, and go on when they are lifted in motion", () => {
    const hand = new Hand().down(1, 100, 300).down(2, 160, 300);
    for (let y = 290; y >= 200; y -= 10) hand.wait(10).move(1, 100, y).move(2, 160, y);
    const by = (): number => hand.done.reduce((sum, action) => sum + (action.type === "scroll" ? action.dy : 0), 0);
    expect(hand.done[0]).toEqual({ type: "scroll-start", at: { x: 130, y: 300 } });
    expect(by()).toBeCloseTo(-100);
    hand.up(1, 100, 200).up(2, 160, 200).wait(5000);
    expect(by()).toBeLessThan(-250);
    expect(hand.gestures.deadline).toBeNull();
    expect(hand.words).not.toMatch(/click|press|pinch/);
  });

  it("fingers that rest before they are lifted leave the content where it is", () => {
    const hand = new Hand().down(1, 100, 300).down(2, 160, 300).wait(20).move(1, 100, 250).move(2, 160, 250);
    hand.wait(300).up(1, 100, 250).up(2, 160, 250);
    expect(hand.gestures.deadline).toBeNull();
  });

  it("a touch stops what goes on scrolling, and is no tap", () => {
    const hand = new Hand().down(1, 100, 300).down(2, 160, 300);
    for (let y = 290; y >= 200; y -= 10) hand.wait(10).move(1, 100, y).move(2, 160, y);
    hand.up(1, 100, 200).up(2, 160, 200).wait(50);
    const before = hand.done.length;
    hand.down(3, 50, 50).wait(60).up(3, 50, 50).wait(3000);
    expect(hand.done.slice(before)).toEqual([]);
    hand.down(4, 50, 50).up(4, 50, 50);
    expect(hand.done.at(-1)?.type).toBe("press");
  });

  it("fingers that stop what goes on scrolling can pinch at once", () => {
    const hand = new Hand().down(1, 100, 300).down(2, 160, 300);
    for (let y = 290; y >= 200; y -= 10) hand.wait(10).move(1, 100, y).move(2, 160, y);
    hand.up(1, 100, 200).up(2, 160, 200).wait(50);
    hand.down(3, 150, 100).down(4, 250, 100).move(3, 100, 100).move(4, 300, 100);
    expect(hand.done.at(-1)?.type).toBe("pinch");
  });

  it("two fingers that move apart enlarge around their middle", () => {
    const hand = new Hand().down(1, 150, 100).down(2, 250, 100).move(1, 125, 100).move(2, 275, 100).move(1, 100, 100).move(2, 300, 100);
    const factor = hand.done.reduce((product, action) => product * (action.type === "pinch" ? action.factor : 1), 1);
    expect(factor).toBeCloseTo(2);
    expect(hand.done.every(({ type }) => type === "pinch")).toBe(true);
    expect(hand.up(1, 100, 100).up(2, 300, 100).wait(1000).words).not.toContain("click");
  });

  it("a finger that the browser takes away while it drags releases the button", () => {
    const hand = new Hand().down(1, 50, 50).up(1, 50, 50).wait(50).down(2, 50, 50).move(2, 90, 50).cancel(2, 90, 50);
    expect(hand.words).toBe("press drag release");
  });

  it("what was forgotten does nothing any more", () => {
    const hand = new Hand().down(1, 50, 50);
    hand.gestures.reset();
    hand.wait(2000).move(1, 90, 90).up(1, 90, 90).wait(2000);
    expect(hand.done).toEqual([]);
    expect(hand.down(1, 5, 5).up(1, 5, 5).words).toBe("press");
  });

  it("whatever fingers do, a press is followed by one release before the next", () => {
    let seed = 7;
    const random = (most: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % most;
    };
    const hand = new Hand();
    for (let i = 0; i < 20_000; i++) {
      const [finger, x, y] = [random(3), random(400), random(400)];
      const does = random(5);
      if (does === 0) hand.down(finger, x, y);
      else if (does === 1) hand.move(finger, x, y);
      else if (does === 2) hand.up(finger, x, y);
      else if (does === 3 && random(10) === 0) hand.cancel(finger, x, y);
      else hand.wait(random(300));
    }
    for (const finger of [0, 1, 2]) hand.up(finger, 0, 0);
    hand.wait(10_000);
    const presses = hand.done.flatMap(({ type }) => (type === "press" ? "+" : type === "release" ? "-" : [])).join("");
    expect(presses).toMatch(/^(\+-){100,}$/);
  });
});

describe("an enlarged picture", () => {
  const box = { width: 400, height: 800 };
  const picture = { width: 1280, height: 720 };

  it("keeps the point between the fingers where it is", () => {
    const at = { x: 120, y: 390 };
    const zoom = zoomed(WHOLE, { factor: 4, from: at, to: at }, box, picture);
    const { left, top, scale } = placementOf(zoom, box, picture);
    expect(scale).toBe(4);
    expect((at.x - left) / scale).toBeCloseTo(at.x);
    expect((at.y - top) / scale).toBeCloseTo(at.y);
  });

  it("has no empty edges, and comes back whole", () => {
    const at = { x: 200, y: 400 };
    const zoom = zoomed(WHOLE, { factor: 3, from: at, to: { x: 5000, y: 400 } }, box, picture);
    expect(placementOf(zoom, box, picture).left).toBeCloseTo(0);
    expect(zoomed(zoom, { factor: 0.1, from: at, to: at }, box, picture)).toEqual(WHOLE);
  });

  it("shows the same part when the phone is turned", () => {
    const at = { x: 300, y: 420 };
    const zoom = zoomed(WHOLE, { factor: 5, from: at, to: at }, box, picture);
    const middle = (room: { width: number; height: number }): number => {
      const { left, scale } = placementOf(zoom, room, picture);
      const fit = Math.min(room.width / picture.width, room.height / picture.height);
      return ((room.width / 2 - left) / scale - (room.width - picture.width * fit) / 2) / (picture.width * fit);
    };
    expect(middle({ width: 800, height: 400 })).toBeCloseTo(middle(box));
  });
});

describe("text of an on-screen keyboard", () => {
  it("is what differs at the end", () => {
    expect(diffText("", "hello")).toEqual({ backspaces: 0, text: "hello" });
    expect(diffText("teh", "the ")).toEqual({ backspaces: 2, text: "he " });
    expect(diffText("abc", "ab")).toEqual({ backspaces: 1, text: "" });
    expect(diffText("a😀", "a😃")).toEqual({ backspaces: 1, text: "😃" });
    expect(diffText("に", "日本")).toEqual({ backspaces: 1, text: "日本" });
  });

  it("has one Backspace where there was nothing to delete", () => {
    expect(diffArea(FILLER, "")).toEqual({ backspaces: 1, text: "" });
    expect(diffArea(`${FILLER}ab`, "")).toEqual({ backspaces: 2, text: "" });
    expect(diffArea(FILLER, `${FILLER}x`)).toEqual({ backspaces: 0, text: "x" });
    expect(diffArea(`${FILLER}x`, "x")).toEqual({ backspaces: 0, text: "" });
  });
});

describe("modifiers that are tapped", () => {
  it("are for the next key, or with two quick taps for all", () => {
    const sticky = new StickyModifiers();
    expect(sticky.tap("ControlLeft", 0)).toBe(true);
    expect(sticky.used()).toEqual(["ControlLeft"]);
    expect(sticky.any).toBe(false);
    sticky.tap("AltLeft", 1000);
    expect(sticky.tap("AltLeft", 1300)).toBe(true);
    expect(sticky.used()).toEqual([]);
    expect(sticky.states.get("AltLeft")).toBe("locked");
    expect(sticky.tap("AltLeft", 1400)).toBe(false);
    sticky.tap("MetaLeft", 2000);
    expect(sticky.tap("MetaLeft", 2900)).toBe(false);
    expect(sticky.any).toBe(false);
  });

  it("turn characters into keys", () => {
    expect(["c", "C", "7", " ", "ü"].map(codeOf)).toEqual(["KeyC", "KeyC", "Digit7", "Space", null]);
  });
});
