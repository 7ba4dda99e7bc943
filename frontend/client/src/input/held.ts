/**
 * What this client holds: keys by place, keys by character, mouse buttons, touches. Owns that state and nothing else;
 * every release goes to where its press went, whatever has changed meanwhile.
 */

import { MAX_HELD, MAX_TOUCHES } from "../generated/constants";
import type { Press } from "./keys";

export type HeldSnapshot = {
  readonly codes: string[];
  readonly chars: string[];
  readonly buttons: number[];
  readonly touches: number[];
};

/** A key that has to be released. */
export type Release = Press;

export class Held {
  /** What was sent for each physical key that is pressed. */
  readonly #keys = new Map<string, Press>();
  readonly #buttons = new Set<number>();
  readonly #touches = new Set<number>();

  get empty(): boolean {
    return this.#keys.size === 0 && this.#buttons.size === 0 && this.#touches.size === 0;
  }

  /** Notes a press; false when it is held already, or when more is held than hands can hold. */
  pressKey(code: string, press: Press): boolean {
    if (this.#keys.has(code) || this.#full()) return false;
    this.#keys.set(code, press);
    return true;
  }

  /** Notes a release. Returns what was pressed with that key, or null. */
  releaseKey(code: string): Release | null {
    const press = this.#keys.get(code) ?? null;
    this.#keys.delete(code);
    // Two physical keys may have made the same character; it is up with the last of them.
    return press !== null && [...this.#keys.values()].some((other) => same(other, press)) ? null : press;
  }

  /** Everything but modifiers; macOS tells no releases of other keys while Cmd is held. */
  releaseAllButModifiers(): Release[] {
    const codes = [...this.#keys.keys()].filter((code) => !/^(Shift|Control|Alt|Meta|OS)/.test(code));
    return codes.map((code) => this.releaseKey(code)).filter((press) => press !== null);
  }

  holdsKey(code: string): boolean {
    return this.#keys.has(code);
  }

  pressButton(button: number): boolean {
    if (this.#buttons.has(button) || this.#full()) return false;
    this.#buttons.add(button);
    return true;
  }

  releaseButton(button: number): boolean {
    return this.#buttons.delete(button);
  }

  /** Notes a finger that comes down; false when there are too many. */
  pressTouch(touch: number): boolean {
    if (this.#touches.size >= MAX_TOUCHES || this.#full()) return false;
    this.#touches.add(touch);
    return true;
  }

  releaseTouch(touch: number): boolean {
    return this.#touches.delete(touch);
  }

  holdsTouch(touch: number): boolean {
    return this.#touches.has(touch);
  }

  clear(): void {
    this.#keys.clear();
    this.#buttons.clear();
    this.#touches.clear();
  }

  snapshot(): HeldSnapshot {
    const presses = [...this.#keys.values()];
    const chars = presses.flatMap((press) => (press.kind === "char" ? [press.char] : []));
    return {
      codes: presses.flatMap((press) => (press.kind === "code" ? [press.code] : [])),
      chars: [...new Set(chars)],
      buttons: [...this.#buttons],
      touches: [...this.#touches],
    };
  }

  #full(): boolean {
    return this.#keys.size + this.#buttons.size + this.#touches.size >= MAX_HELD;
  }
}

function same(a: Press, b: Press): boolean {
  return a.kind === "code" ? b.kind === "code" && a.code === b.code : b.kind === "char" && a.char === b.char;
}

/** X's numbers of the buttons, by their bit in `PointerEvent.buttons`. */
const BUTTON_BITS: readonly (readonly [bit: number, button: number])[] = [
  [1, 1],
  [4, 2],
  [2, 3],
  [8, 8],
  [16, 9],
];

export type ButtonChange = { readonly button: number; readonly down: boolean };

/** Which buttons went down or up between two values of `PointerEvent.buttons`. */
export function buttonChanges(before: number, after: number): ButtonChange[] {
  return BUTTON_BITS.filter(([bit]) => ((before ^ after) & bit) !== 0).map(([bit, button]) => ({
    button,
    down: (after & bit) !== 0,
  }));
}
