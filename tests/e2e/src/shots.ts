/** Pictures of every page in every state: large, on a tablet and on a phone, light and dark. Run by `scripts/shots`. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "./support/browser.js";
import { DESK, putOn, SCREENS } from "./support/layout.js";
import { eachState } from "./support/states.js";

test("pictures of every page and state", async () => {
  const dir = process.env["ORIEL_SHOTS"];
  if (dir === undefined) throw new Error("ORIEL_SHOTS names the folder for the pictures");
  mkdirSync(dir, { recursive: true });
  const { browser } = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]);
  await eachState(browser, async (name, page) => {
    for (const screen of SCREENS) {
      await putOn(page, screen);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.screenshot({ path: join(dir, `${name}-${String(screen.width)}-${colorScheme}.png`) });
      }
    }
    await putOn(page, DESK);
  });
});
