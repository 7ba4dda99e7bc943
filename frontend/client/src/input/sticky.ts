/**
 * Modifiers that are tapped instead of held: one tap for the next key, two for all until the next tap. Pure.
 */

export const STICKY_MODIFIERS = ["ControlLeft", "AltLeft", "MetaLeft", "ShiftLeft"] as const;
export type StickyModifier = (typeof STICKY_MODIFIERS)[number];

export type StickyState = "off" | "once" | "locked";

/** What is not off. */
export type Sticky = ReadonlyMap<StickyModifier, StickyState>;

/** Two taps within this time lock. */
const LOCK_MS = 400;

export class StickyModifiers {
  readonly #on = new Map<StickyModifier, { readonly state: StickyState; readonly at: number }>();

  get states(): Sticky {
    return new Map([...this.#on].map(([modifier, { state }]) => [modifier, state]));
  }

  get any(): boolean {
    return this.#on.size > 0;
  }

  /** A tap. Returns whether the modifier is down afterwards. */
  tap(modifier: StickyModifier, now: number): boolean {
    const known = this.#on.get(modifier);
    if (known === undefined) this.#on.set(modifier, { state: "once", at: now });
    else if (known.state === "once" && now - known.at <= LOCK_MS) this.#on.set(modifier, { state: "locked", at: now });
    else this.#on.delete(modifier);
    return this.#on.has(modifier);
  }

  /** A key has been pressed with them. Returns those that are to be released. */
  used(): StickyModifier[] {
    const once = [...this.#on].flatMap(([modifier, { state }]) => (state === "once" ? [modifier] : []));
    for (const modifier of once) this.#on.delete(modifier);
    return once;
  }

  clear(): void {
    this.#on.clear();
  }
}

/** The key of a character on a US keyboard, for shortcuts: letters and digits. Null for all else. */
export function codeOf(char: string): string | null {
  if (/^[a-zA-Z]$/.test(char)) return `Key${char.toUpperCase()}`;
  return /^[0-9]$/.test(char) ? `Digit${char}` : char === " " ? "Space" : null;
}
