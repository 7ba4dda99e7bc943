/** Every page and state, large, on a tablet and on a phone, light and dark: read, named, hit, and gone through by keyboard. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./support/browser.js";
import { faultsOf } from "./support/faults.js";
import { TELLS_ROLES } from "./support/semantics.js";
import { eachState } from "./support/states.js";

let browser: Browser;

before(async () => {
  ({ browser } = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", TELLS_ROLES]));
});

test("every page can be read, has names for all, fits, can be hit, and shows where the focus is", async () => {
  const wrong: string[] = [];
  let states = 0;
  await eachState(browser, async (name, page) => {
    states += 1;
    wrong.push(...(await faultsOf(page)).map((fault) => `${name}: ${fault}`));
  });
  assert.ok(states >= 20, `${String(states)} states`);
  assert.deepEqual(wrong, []);
});
