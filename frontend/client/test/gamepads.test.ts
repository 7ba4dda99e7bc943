import { describe, expect, it } from "vitest";
import { type GamepadLike, padKind, padNews, padState, type Told } from "../src/input/gamepads";

/** A gamepad on which these buttons are pressed this far. */
function gamepad(pressed: Readonly<Record<number, number>> = {}, axes: readonly number[] = [0, 0, 0, 0]): GamepadLike {
  const buttons = Array.from({ length: 17 }, (_, n) => ({
    pressed: (pressed[n] ?? 0) > 0.3,
    value: pressed[n] ?? 0,
  }));
  return { id: "", index: 0, mapping: "standard", axes, buttons };
}

describe("a gamepad's state", () => {
  it("has a bit for each button, and triggers by how far they are pressed", () => {
    expect(padState(gamepad({ 0: 1, 7: 0.5, 16: 1 }))).toEqual({
      buttons: 1 | (1 << 7) | (1 << 16),
      triggers: [0, 0.5],
      sticks: [0, 0, 0, 0],
    });
  });

  it("has sticks in hundredths, within what the server takes", () => {
    const { sticks } = padState(gamepad({}, [0.123456, -1.0000001, Number.NaN]));
    expect(sticks).toEqual([0.12, -1, 0, 0]);
    expect(padState(gamepad({}, [-0.001, 0, 0, 0])).sticks.some((value) => Object.is(value, -0))).toBe(false);
  });

  it("leaves out buttons that the mapping does not have", () => {
    const buttons = Array.from({ length: 40 }, () => ({ pressed: true, value: 1 }));
    expect(padState({ ...gamepad(), buttons }).buttons).toBe(0x1ffff);
  });
});

describe("news of a gamepad", () => {
  const told = (at: number, settled: boolean, pad = gamepad()): Told => ({ state: padState(pad), at, settled });

  it("begin with all of it", () => {
    expect(padNews(null, padState(gamepad()), 0)).toBe("buttons");
  });

  it("are buttons, or sticks alone", () => {
    const before = told(0, true);
    expect(padNews(before, padState(gamepad({ 3: 1 }, [1, 0, 0, 0])), 1)).toBe("buttons");
    expect(padNews(before, padState(gamepad({}, [1, 0, 0, 0])), 1)).toBe("axes");
  });

  it("are told again, reliably, when sticks have come to a stop", () => {
    const state = padState(gamepad({}, [1, 0, 0, 0]));
    const before: Told = { state, at: 1000, settled: false };
    expect(padNews(before, state, 1059)).toBe("nothing");
    expect(padNews(before, state, 1060)).toBe("repeat");
  });

  it("are repeated while something is pressed, and not at rest", () => {
    const pressed = gamepad({ 0: 1 });
    expect(padNews(told(0, true, pressed), padState(pressed), 499)).toBe("nothing");
    expect(padNews(told(0, true, pressed), padState(pressed), 500)).toBe("repeat");
    expect(padNews(told(0, true), padState(gamepad()), 10_000)).toBe("nothing");
  });
});

describe("the make of a gamepad", () => {
  it("is told by its name or its maker's number", () => {
    expect(padKind("Xbox 360 Controller (XInput STANDARD GAMEPAD)")).toBe("xbox");
    expect(padKind("045e-028e-Microsoft X-Box pad")).toBe("xbox");
    expect(padKind("DualSense Wireless Controller (STANDARD GAMEPAD Vendor: 054c Product: 0ce6)")).toBe(
      "play-station",
    );
    expect(padKind("Pro Controller (Vendor: 057e Product: 2009)")).toBe("nintendo");
    expect(padKind("28de-1102-Wireless")).toBe("steam");
    expect(padKind("USB Joystick")).toBe("unknown");
  });
});
