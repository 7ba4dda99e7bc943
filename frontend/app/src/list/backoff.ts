/** How often a thumbnail is renewed: seldom where nothing moves. Pure. */

/** At rest a picture is fetched again after so many periods at most. */
const MOST_SKIPPED = 11;

/** How many periods to let pass after a picture that was the same as the one before, or not. */
export function skipsAfter(skipped: number, same: boolean): number {
  return same ? Math.min(skipped * 2 + 1, MOST_SKIPPED) : 0;
}
