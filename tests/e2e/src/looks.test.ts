/** Every page and state, large and on a phone, light and dark: read, named, and gone through by keyboard. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./support/browser.js";
import { arranged } from "./support/layout.js";
import { lostFocus, paleTexts, unnamed } from "./support/looks.js";
import { eachState } from "./support/states.js";

const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
];

let browser: Browser;

before(async () => {
  ({ browser } = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]));
});

test("every page can be read, has names for all, fits, and shows where the focus is", async () => {
  const wrong: string[] = [];
  let states = 0;
  await eachState(browser, async (name, page) => {
    states += 1;
    const note = (what: string, found: readonly string[]): void => {
      wrong.push(...found.map((one) => `${name} (${what}): ${one}`));
    };
    note("names", await unnamed(page));
    for (const size of SIZES) {
      await page.setViewportSize(size);
      note(`${String(size.width)} px`, await arranged(page));
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        note(`${String(size.width)} px, ${colorScheme}`, await paleTexts(page));
      }
    }
    await page.setViewportSize({ width: 1440, height: 900 });
    note("focus", await lostFocus(page));
    const moving = await page.evaluate(() => document.getAnimations().filter(({ effect }) => Number(effect?.getComputedTiming().duration) > 0).length);
    note("reduced motion", moving === 0 ? [] : [`${String(moving)} animations`]);
  });
  assert.ok(states >= 20, `${String(states)} states`);
  assert.deepEqual(wrong, []);
});
