/**
 * Decides what a keyboard event means for the session: a key by its place, a key by its character, or nothing.
 * Pure; held keys are in `held.ts`.
 */

import { MAX_TYPED } from "../generated/constants";

/** How keys are sent. */
export type KeyboardMode =
  /** By their place on the keyboard; the session's own layout says which character that is. */
  | "physical"
  /** By the character that the viewer's own layout makes of them. */
  | "character";

/** The part of a `KeyboardEvent` that matters. */
export type KeyLike = {
  readonly code: string;
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
  readonly isComposing: boolean;
  readonly repeat: boolean;
  getModifierState(key: string): boolean;
};

export type Press =
  { readonly kind: "code"; readonly code: string } | { readonly kind: "char"; readonly char: string };

export type KeyDecision =
  | Press
  /** It is not sent to the session, and the browser must not act on it. */
  | { readonly kind: "swallow" }
  /** It belongs to an input method or an on-screen keyboard, whose text arrives separately. */
  | { readonly kind: "leave" };

/** The meaning of a key that goes down. */
export function decideKeyDown(event: KeyLike, mode: KeyboardMode): KeyDecision {
  // The session repeats held keys by itself, at its own rate.
  if (event.repeat) return { kind: "swallow" };
  if (event.isComposing || event.key === "Process" || event.key === "Unidentified") return { kind: "leave" };
  if (mode === "character") {
    // Dead keys and AltGr are part of making a character, which is sent when it is made.
    if (event.key === "Dead") return { kind: "leave" };
    if (event.key === "AltGraph") return { kind: "swallow" };
    if (isPlainCharacter(event)) return { kind: "char", char: event.key };
  }
  return isKeyCode(event.code) ? { kind: "code", code: event.code } : { kind: "leave" };
}

/** A key that prints one character and is not part of a shortcut. */
function isPlainCharacter(event: KeyLike): boolean {
  if (codePoints(event.key).length !== 1) return false;
  // Windows reports AltGr as Ctrl and Alt together; the character is meant all the same.
  const shortcut = (event.ctrlKey || event.altKey) && !event.getModifierState("AltGraph");
  return !shortcut && !event.metaKey;
}

/** The locks of the viewer's keyboard; `null` where an event does not tell. */
export type Locks = { readonly caps: boolean | null; readonly num: boolean | null };

/**
 * What a key that goes down tells about the locks. Num Lock follows from the output of the number pad, as a Mac has none and always types
 * digits; a lock's own key tells nothing, as systems differ on whether it reports the state before or after.
 */
export function locksOf(event: KeyLike & { readonly shiftKey: boolean }): Locks {
  if (event.code === "CapsLock" || event.code === "NumLock") return { caps: null, num: null };
  const isPad = /^Numpad([0-9]|Decimal)$/.test(event.code);
  return {
    caps: event.getModifierState("CapsLock"),
    num: isPad && !event.shiftKey ? codePoints(event.key).length === 1 : null,
  };
}

/** The same rule as the server's. */
export function isKeyCode(code: string): boolean {
  return /^[A-Za-z0-9]{1,32}$/.test(code) && code !== "Unidentified";
}

/** Ctrl+V, Cmd+V or Shift+Insert: the clipboard has to be there before the key is. */
export function isPaste(event: KeyLike & { readonly shiftKey: boolean }): boolean {
  if (event.altKey || event.repeat) return false;
  if (event.code === "Insert") return event.shiftKey && !event.ctrlKey && !event.metaKey;
  return event.code === "KeyV" && (event.ctrlKey || event.metaKey);
}

/** Cuts a text into pieces that one message can type, never within a character. */
export function typedPieces(text: string, most = MAX_TYPED): string[] {
  const characters = codePoints(text);
  const pieces: string[] = [];
  for (let start = 0; start < characters.length; start += most) {
    pieces.push(characters.slice(start, start + most).join(""));
  }
  return pieces;
}

/** The code points of a text, as the session types them; not grapheme clusters. */
function codePoints(text: string): string[] {
  return Array.from(text);
}
