/** Everything that is wrong with a page as it is at this moment: large, on a tablet and on a phone, light and dark. */

import type { Page } from "playwright-core";
import { arranged, covered, cutOff, DESK, putOn, rowsOf, SCREENS, smallTargets, stuck, TABLET } from "./layout.js";
import { lostFocus, paleEdges, paleTexts } from "./looks.js";
import { mistold } from "./semantics.js";

/** What a finger hits, in pixels. */
const FINGER = 44;

/** The browser has been started with `TELLS_ROLES`. */
export async function faultsOf(page: Page): Promise<string[]> {
  const all: string[] = [];
  const note = (what: string, found: readonly string[]): void => {
    all.push(...found.map((one) => `${what}: ${one}`));
  };
  note("to screen readers", await mistold(page));
  const hasToolbar = (await page.locator(".toolbar").count()) > 0;
  for (const screen of SCREENS) {
    await putOn(page, screen);
    const on = `${String(screen.width)} px`;
    note(on, await arranged(page));
    note(`${on}, cut off`, await cutOff(page));
    note(`${on}, covered`, await covered(page));
    note(`${on}, small`, await smallTargets(page));
    note(`${on}, not scrolled by keyboard`, await stuck(page));
    if (hasToolbar) {
      const rows = await rowsOf(page, ".toolbar");
      note(on, rows === 1 ? [] : [`the toolbar has ${String(rows)} rows`]);
      if (screen.touched) note(`${on}, small for a finger`, await smallTargets(page, ".toolbar", FINGER));
    }
    // Its colours are those of the others, of which one is wider and one narrower.
    if (screen === TABLET) continue;
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      note(`${on}, ${colorScheme}`, [...(await paleTexts(page)), ...(await paleEdges(page))]);
    }
  }
  await putOn(page, DESK);
  note("focus", await lostFocus(page));
  const moving = await page.evaluate(() => document.getAnimations().filter(({ effect }) => Number(effect?.getComputedTiming().duration) > 0).length);
  note("reduced motion", moving === 0 ? [] : [`${String(moving)} animations`]);
  return all;
}
