/**
 * Gamepads of this browser, for one slot: read once a frame while there are any, told at once when something
 * has changed. Buttons go the reliable way; triggers and sticks alone the lossy one, and once more the reliable
 * way when they have come to a stop.
 */

import type { PadKind, PadState } from "../generated";
import { HELD_REPEAT_MS, MAX_PADS } from "../generated/constants";
import type { InputClient } from "../view";

/** Sticks that have not moved for this long are at rest. */
const SETTLE_MS = 60;
/** A gamepad rumbles at most this long without another message. */
const RUMBLE_MS = 5_000;
/** Sticks and triggers are sent in hundredths: their noise is smaller. */
const STEPS = 100;

/** The fields of `Gamepad` that are used. */
export type GamepadLike = {
  readonly id: string;
  readonly index: number;
  readonly mapping: string;
  readonly axes: readonly number[];
  readonly buttons: readonly { readonly pressed: boolean; readonly value: number }[];
};

/** Buttons of the standard mapping. */
const BUTTONS = 17;
const LEFT_TRIGGER = 6;
const RIGHT_TRIGGER = 7;

/** How a gamepad stands, in the words of the protocol. */
export function padState({ axes, buttons }: GamepadLike): PadState {
  let pressed = 0;
  buttons.slice(0, BUTTONS).forEach((button, n) => {
    if (button.pressed) pressed |= 1 << n;
  });
  const trigger = (n: number): number => rounded(buttons[n]?.value ?? 0, 0);
  const stick = (n: number): number => rounded(axes[n] ?? 0, -1);
  return {
    buttons: pressed,
    triggers: [trigger(LEFT_TRIGGER), trigger(RIGHT_TRIGGER)],
    sticks: [stick(0), stick(1), stick(2), stick(3)],
  };
}

function rounded(value: number, least: number): number {
  const inside = Number.isFinite(value) ? Math.min(1, Math.max(least, value)) : 0;
  // Without a negative zero.
  return Math.round(inside * STEPS) / STEPS + 0;
}

/** The make of a gamepad, by its name in browsers. */
export function padKind(id: string): PadKind {
  if (/xbox|xinput|045e/i.test(id)) return "xbox";
  if (/playstation|dualshock|dualsense|sony|054c/i.test(id)) return "play-station";
  if (/nintendo|switch|joy-con|057e/i.test(id)) return "nintendo";
  if (/steam|valve|28de/i.test(id)) return "steam";
  return "unknown";
}

/** A message about a gamepad. */
export type PadNews = "nothing" | "buttons" | "axes" | "repeat";

/** The state of a gamepad that the session knows. */
export type Told = { readonly state: PadState; readonly at: number; readonly settled: boolean };

/** The messages that are due. Pure. */
export function padNews(told: Told | null, state: PadState, now: number): PadNews {
  if (told?.state.buttons !== state.buttons) return "buttons";
  if (!same(told.state.triggers, state.triggers) || !same(told.state.sticks, state.sticks)) return "axes";
  if (!told.settled && now - told.at >= SETTLE_MS) return "repeat";
  return !atRest(state) && now - told.at >= HELD_REPEAT_MS ? "repeat" : "nothing";
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, n) => value === b[n]);
}

function atRest({ buttons, triggers, sticks }: PadState): boolean {
  return buttons === 0 && [...triggers, ...sticks].every((value) => value === 0);
}

export type GamepadContext = {
  readonly client: InputClient;
  readonly slot: number;
  /** Input is wanted now. */
  readonly active: () => boolean;
};

type Pad = { readonly number: number; told: Told | null };

export class GamepadInput {
  readonly #context: GamepadContext;
  /** By the browser's index. */
  readonly #pads = new Map<number, Pad>();
  #frame: number | undefined;

  constructor(context: GamepadContext, signal: AbortSignal) {
    this.#context = context;
    const start = (): void => {
      this.#frame ??= requestAnimationFrame(this.#tick);
    };
    window.addEventListener("gamepadconnected", start, { signal });
    context.client.on(
      "input",
      (open) => {
        // A new connection knows of no gamepad.
        if (!open) this.#forget();
      },
      { signal },
    );
    context.client.on(
      "rumble",
      ({ slot, pad, strong, weak }) => {
        if (slot === context.slot) this.#rumble(pad, strong, weak);
      },
      { signal },
    );
    signal.addEventListener("abort", () => {
      if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    });
    start();
  }

  /** There is one. */
  get any(): boolean {
    return this.#pads.size > 0;
  }

  /** The session has released everything: what is pressed has to be sent again. */
  reset(): void {
    for (const pad of this.#pads.values()) pad.told = null;
  }

  /** Unplugs all of them, for the session. */
  unplug(): void {
    const { client, slot } = this.#context;
    for (const { number } of this.#pads.values()) client.sendKeys({ type: "pad-gone", slot, pad: number });
    this.#forget();
  }

  readonly #tick = (now: number): void => {
    const found = navigator.getGamepads().filter((pad) => pad !== null && pad.mapping === "standard");
    const pads = found.filter((pad) => pad !== null);
    // Until one is connected there is nothing to look at.
    this.#frame = pads.length > 0 || this.#pads.size > 0 ? requestAnimationFrame(this.#tick) : undefined;
    // Other windows' games are none of ours.
    if (!this.#context.active() || !document.hasFocus()) return;
    for (const pad of pads) this.#look(pad, now);
    for (const [index, { number }] of this.#pads) {
      if (pads.some((pad) => pad.index === index)) continue;
      this.#pads.delete(index);
      this.#context.client.sendKeys({ type: "pad-gone", slot: this.#context.slot, pad: number });
    }
  };

  #look(gamepad: GamepadLike, now: number): void {
    const pad = this.#pads.get(gamepad.index) ?? this.#admit(gamepad.index);
    if (pad === null) return;
    const { client, slot } = this.#context;
    const state = padState(gamepad);
    const news = padNews(pad.told, state, now);
    if (news === "nothing") return;
    const { number } = pad;
    const sent =
      news === "axes"
        ? client.sendMotion({ type: "pad", slot, pad: number, triggers: state.triggers, sticks: state.sticks })
        : client.sendKeys({ type: "pad", slot, pad: number, kind: padKind(gamepad.id), state });
    if (sent) pad.told = { state, at: now, settled: news !== "axes" };
  }

  #admit(index: number): Pad | null {
    const taken = new Set([...this.#pads.values()].map(({ number }) => number));
    const number = Array.from({ length: MAX_PADS }, (_, n) => n).find((n) => !taken.has(n));
    if (number === undefined) return null;
    const pad: Pad = { number, told: null };
    this.#pads.set(index, pad);
    return pad;
  }

  #rumble(number: number, strong: number, weak: number): void {
    const index = [...this.#pads].find(([, pad]) => pad.number === number)?.[0];
    const actuator = index === undefined ? undefined : navigator.getGamepads()[index]?.vibrationActuator;
    if (actuator === undefined) return;
    const playing =
      strong === 0 && weak === 0
        ? actuator.reset()
        : actuator.playEffect("dual-rumble", {
            duration: RUMBLE_MS,
            strongMagnitude: strong,
            weakMagnitude: weak,
          });
    // A gamepad without actuators does not rumble.
    playing.catch(() => undefined);
  }

  #forget(): void {
    this.#pads.clear();
  }
}
