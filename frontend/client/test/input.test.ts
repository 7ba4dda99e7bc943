import { describe, expect, it } from "vitest";
import type { StreamInfo } from "../src/generated";
import { cursorMetrics, shapeUrl } from "../src/input/cursor";
import { containedRect, fromPicture, pictureSize, toPicture } from "../src/input/geometry";
import { buttonChanges, Held } from "../src/input/held";
import { decideKeyDown, isKeyCode, isPaste, type KeyLike, locksOf, typedPieces } from "../src/input/keys";
import { WheelNormaliser } from "../src/input/wheel";

const HD = { width: 1280, height: 720 };

describe("positions", () => {
  it("leave the bars above and below a wide picture out", () => {
    const rect = containedRect({ left: 10, top: 20, width: 640, height: 480 }, HD);
    expect(rect).toEqual({ left: 10, top: 80, width: 640, height: 360 });
    expect(toPicture({ x: 10, y: 80 }, rect, HD)).toEqual({ x: 0, y: 0 });
    expect(toPicture({ x: 330, y: 260 }, rect, HD)).toEqual({ x: 640, y: 360 });
  });

  it("leave the bars beside a tall picture out", () => {
    const rect = containedRect({ left: 0, top: 0, width: 1000, height: 500 }, { width: 100, height: 100 });
    expect(rect).toEqual({ left: 250, top: 0, width: 500, height: 500 });
  });

  it("in the bars are those of the nearest pixel", () => {
    const rect = containedRect({ left: 0, top: 0, width: 640, height: 480 }, HD);
    expect(toPicture({ x: -5, y: 0 }, rect, HD)).toEqual({ x: 0, y: 0 });
    expect(toPicture({ x: 900, y: 479 }, rect, HD)).toEqual({ x: 1279, y: 719 });
  });

  it("are in pixels of what this viewer sees, which may not be what the slot shows to others", () => {
    const info = { source: "main", ...HD } as StreamInfo;
    const video = { videoWidth: 800, videoHeight: 600 };
    const own = { width: 800, height: 600 };
    for (const [view, size] of [
      [undefined, own],
      [{ info: null, seen: null }, own],
      [{ info, seen: null }, HD],
      [{ info, seen: { stream: "main", quality: "360p" } }, HD],
      [{ info, seen: { stream: "other", quality: "" } }, own],
    ] as const) {
      expect(pictureSize(view, video)).toEqual(size);
    }
  });

  it("go to the page and back", () => {
    const rect = containedRect({ left: 7, top: 3, width: 801, height: 603 }, HD);
    for (const at of [
      { x: 0, y: 0 },
      { x: 333.25, y: 99.5 },
      { x: 1279, y: 719 },
    ]) {
      const back = toPicture(fromPicture(at, rect, HD), rect, HD);
      expect(back.x).toBeCloseTo(at.x, 1);
      expect(back.y).toBeCloseTo(at.y, 1);
    }
  });

  it("are finite while nothing has a size yet", () => {
    const rect = containedRect({ left: 0, top: 0, width: 0, height: 0 }, { width: 0, height: 0 });
    expect(toPicture({ x: 5, y: 5 }, rect, { width: 0, height: 0 })).toEqual({ x: 0, y: 0 });
  });
});

describe("the wheel", () => {
  const turn = (deltaY: number, deltaMode = 0): number =>
    new WheelNormaliser().notches({ deltaX: 0, deltaY, deltaMode }).dy;

  it("takes 100 or 120 pixels for a notch", () => {
    expect([turn(100), turn(120), turn(-240), turn(-300)]).toEqual([1, 1, -2, -3]);
  });

  it("remembers which of them it was when both would fit", () => {
    const wheel = new WheelNormaliser();
    wheel.notches({ deltaX: 0, deltaY: 120, deltaMode: 0 });
    expect(wheel.notches({ deltaX: 0, deltaY: 600, deltaMode: 0 }).dy).toBe(5);
    wheel.notches({ deltaX: 0, deltaY: 100, deltaMode: 0 });
    expect(wheel.notches({ deltaX: 0, deltaY: 600, deltaMode: 0 }).dy).toBe(6);
  });

  it("keeps the fractions of a touchpad", () => {
    expect(turn(7)).toBeCloseTo(0.07);
  });

  it("understands lines and pages", () => {
    expect([turn(3, 1), turn(-1, 2)]).toEqual([1, -1]);
  });

  it("never says more than the server takes, nor anything that is no number", () => {
    expect([turn(1e9), turn(-1e9), turn(Number.NaN)]).toEqual([100, -100, 0]);
  });
});

function key(code: string, name: string, more: Partial<KeyLike> = {}): KeyLike {
  return {
    code,
    key: name,
    ctrlKey: false,
    altKey: false,
    metaKey: false,
    isComposing: false,
    repeat: false,
    getModifierState: () => false,
    ...more,
  };
}

describe("the locks", () => {
  const of = (code: string, name: string, caps = false, shiftKey = false): unknown =>
    locksOf({ ...key(code, name, { getModifierState: (which) => which === "CapsLock" && caps }), shiftKey });

  it("are told with each key but their own", () => {
    expect(of("KeyA", "A", true)).toEqual({ caps: true, num: null });
    expect(of("CapsLock", "CapsLock", true)).toEqual({ caps: null, num: null });
  });

  it("are known by what the number pad makes", () => {
    expect(of("Numpad1", "1")).toEqual({ caps: false, num: true });
    expect(of("Numpad1", "End")).toEqual({ caps: false, num: false });
    expect(of("NumpadDecimal", ",")).toEqual({ caps: false, num: true });
    expect(of("Numpad1", "End", false, true)).toEqual({ caps: false, num: null });
    expect(of("NumpadEnter", "Enter")).toEqual({ caps: false, num: null });
  });
});

describe("a key", () => {
  it("is sent by its place, whatever is on it", () => {
    expect(decideKeyDown(key("KeyA", "q"), "physical")).toEqual({ kind: "code", code: "KeyA" });
  });

  it("is sent by its character when asked to", () => {
    expect(decideKeyDown(key("KeyA", "q"), "character")).toEqual({ kind: "char", char: "q" });
    expect(decideKeyDown(key("KeyA", "😀"), "character")).toEqual({ kind: "char", char: "😀" });
    expect(decideKeyDown(key("Enter", "Enter"), "character")).toEqual({ kind: "code", code: "Enter" });
  });

  it("of a shortcut is sent by its place in either mode", () => {
    for (const modifier of ["ctrlKey", "altKey", "metaKey"] as const) {
      const decision = decideKeyDown(key("KeyC", "c", { [modifier]: true }), "character");
      expect(decision).toEqual({ kind: "code", code: "KeyC" });
    }
  });

  it("made with AltGr is a character, though Windows calls it Ctrl and Alt", () => {
    const altGraph = { ctrlKey: true, altKey: true, getModifierState: (name: string) => name === "AltGraph" };
    expect(decideKeyDown(key("KeyQ", "@", altGraph), "character")).toEqual({ kind: "char", char: "@" });
    expect(decideKeyDown(key("AltRight", "AltGraph"), "character")).toEqual({ kind: "swallow" });
  });

  it("that repeats is swallowed, as the session repeats by itself", () => {
    expect(decideKeyDown(key("KeyA", "a", { repeat: true }), "physical")).toEqual({ kind: "swallow" });
  });

  it("that belongs to an input method is left to it", () => {
    expect(decideKeyDown(key("KeyA", "Process"), "physical")).toEqual({ kind: "leave" });
    expect(decideKeyDown(key("KeyA", "a", { isComposing: true }), "physical")).toEqual({ kind: "leave" });
    expect(decideKeyDown(key("", "Unidentified"), "physical")).toEqual({ kind: "leave" });
    expect(decideKeyDown(key("BracketLeft", "Dead"), "character")).toEqual({ kind: "leave" });
  });

  it("has a code that the server takes, or is not sent", () => {
    expect(["KeyA", "F12", "", "Key A", "x".repeat(33), "Unidentified"].map(isKeyCode)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it("pastes with Ctrl+V, Cmd+V and Shift+Insert", () => {
    const paste = (code: string, more: object): boolean =>
      isPaste({ ...key(code, ""), shiftKey: false, ...more });
    expect(paste("KeyV", { ctrlKey: true })).toBe(true);
    expect(paste("KeyV", { metaKey: true })).toBe(true);
    expect(paste("Insert", { shiftKey: true })).toBe(true);
    expect(paste("KeyV", {})).toBe(false);
    expect(paste("Insert", {})).toBe(false);
    expect(paste("KeyV", { ctrlKey: true, altKey: true })).toBe(false);
  });
});

describe("a long text", () => {
  it("is typed in pieces that never cut a character", () => {
    expect(typedPieces("a😀b😀", 2)).toEqual(["a😀", "b😀"]);
    expect(typedPieces("")).toEqual([]);
  });
});

describe("what is held", () => {
  const code = (name: string) => ({ kind: "code", code: name }) as const;
  const char = (text: string) => ({ kind: "char", char: text }) as const;

  it("counts one press, however often it is said", () => {
    const held = new Held();
    expect([held.pressKey("KeyA", code("KeyA")), held.pressKey("KeyA", code("KeyA"))]).toEqual([true, false]);
    expect(held.releaseKey("KeyA")).toEqual(code("KeyA"));
    expect(held.releaseKey("KeyA")).toBeNull();
    expect(held.empty).toBe(true);
  });

  it("releases the character that was pressed, though the key makes another one now", () => {
    const held = new Held();
    held.pressKey("KeyA", char("A"));
    expect(held.releaseKey("KeyA")).toEqual(char("A"));
  });

  it("keeps a character down until the last key that made it is up", () => {
    const held = new Held();
    held.pressKey("Digit1", char("1"));
    held.pressKey("Numpad1", char("1"));
    expect(held.snapshot().chars).toEqual(["1"]);
    expect(held.releaseKey("Digit1")).toBeNull();
    expect(held.releaseKey("Numpad1")).toEqual(char("1"));
  });

  it("is told in full", () => {
    const held = new Held();
    held.pressKey("ShiftLeft", code("ShiftLeft"));
    held.pressKey("KeyA", char("A"));
    held.pressButton(1);
    held.pressTouch(7);
    expect(held.snapshot()).toEqual({ codes: ["ShiftLeft"], chars: ["A"], buttons: [1], touches: [7] });
  });

  it("lets go of all but modifiers when Cmd goes up", () => {
    const held = new Held();
    for (const name of ["MetaLeft", "ShiftLeft", "KeyC"]) held.pressKey(name, code(name));
    expect(held.releaseAllButModifiers()).toEqual([code("KeyC")]);
    expect(held.snapshot().codes).toEqual(["MetaLeft", "ShiftLeft"]);
  });

  it("is never more than the server takes", () => {
    const held = new Held();
    for (let i = 0; i < 80; i++) held.pressKey(`F${i}`, code(`F${i}`));
    expect(held.snapshot().codes).toHaveLength(64);
    expect(held.pressButton(1)).toBe(false);
  });
});

describe("mouse buttons", () => {
  it("have X's numbers", () => {
    const numbers = [1, 2, 4, 8, 16].map((bit) => buttonChanges(0, bit));
    expect(numbers).toEqual([1, 3, 2, 8, 9].map((button) => [{ button, down: true }]));
  });

  it("change together when the browser says so", () => {
    expect(buttonChanges(0b001, 0b010)).toEqual([
      { button: 1, down: false },
      { button: 3, down: true },
    ]);
    expect(buttonChanges(3, 3)).toEqual([]);
  });
});

describe("a cursor", () => {
  const arrow = { width: 24, height: 24, hotX: 4, hotY: 6 };

  it("is as large as the picture is shown", () => {
    expect(cursorMetrics(arrow, 1)).toEqual({ width: 24, height: 24, hotX: 4, hotY: 6 });
    expect(cursorMetrics(arrow, 2)).toEqual({ width: 48, height: 48, hotX: 8, hotY: 12 });
  });

  it("is never larger than browsers take, and its hot spot is on it", () => {
    const metrics = cursorMetrics({ width: 256, height: 64, hotX: 255, hotY: 63 }, 3);
    expect(metrics).toEqual({ width: 128, height: 32, hotX: 127, hotY: 31 });
  });

  it("cannot smuggle anything into a style sheet", () => {
    expect(shapeUrl({ ...arrow, png: 'x") 0 0, url("http://evil' })).toBeNull();
    expect(shapeUrl({ ...arrow, png: "iVBORw0KGgo=" })).toBe("data:image/png;base64,iVBORw0KGgo=");
  });
});
