/** How often a thumbnail is renewed: seldom where nothing moves. Pure. */

/** At rest a picture is fetched again after so many periods at most. */
const MOST_SKIPPED = 11;

/** How many periods to let pass after a picture that was the same as the one before, or not. */
export function skipsAfter(skipped: number, same: boolean): number {
  return same ? Math.min(skipped * 2 + 1, MOST_SKIPPED) : 0;
}

/** Whether two pictures are the same, byte by byte. */
export function isSame(a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && a.length === b.length && a.every((byte, at) => byte === b[at]);
}
