/** Decides which of several slots are heard. Pure. */

/** The first slot alone, the focused one alone, or all together. */
export type AudioMode = "first" | "focused" | "mix";

/** @param focused the slot that has the focus; null while none has it. */
export function isHeard(mode: AudioMode, slot: number, focused: number | null): boolean {
  switch (mode) {
    case "first":
      return slot === 0;
    case "focused":
      return slot === focused;
    case "mix":
      return true;
  }
}
