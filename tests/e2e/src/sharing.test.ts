/** Three pages that watch and steer one desktop at the same time. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { type Inbound, inbound, launch, watch } from "./support/browser.js";
import { Desktop, HEIGHT, movePointer, WIDTH } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { period } from "./support/wait.js";

const DURATION_MS = Number(process.env["ORIEL_SHARED_S"] ?? 10) * 1000;
/** People do not take turns faster. */
const TURN_MS = 150;
const LETTERS = ["q", "w", "e"];

let server: Server;
let browser: Browser;
let desktop: Desktop;
let pages: Page[];

before(async () => {
  server = await Server.start();
  desktop = await Desktop.moving(server, "shared");
  ({ browser } = await launch());
  pages = [];
  for (const _ of LETTERS) pages.push(await watch(browser, server.url, "shared"));
  // Reading pixels would cost what this test is about.
  for (const page of pages) {
    await page.evaluate(() => {
      window.probe.decode = false;
    });
  }
});

test("three pages in use at the same time lose no frame and no input", async () => {
  const counters = (): Promise<Inbound[]> => Promise.all(pages.map((page) => inbound(page, "video")));
  const before = await counters();
  const end = performance.now() + DURATION_MS;
  const sent = await Promise.all(pages.map((page, i) => use(page, LETTERS[i] ?? "", i, end)));
  const after = await counters();

  const decoded = after.map((now, i) => now.framesDecoded - (before[i]?.framesDecoded ?? 0));
  const most = Math.max(...decoded);
  // How many a second is up to the machine, which also reads the counters of one page after those of another.
  const least = (DURATION_MS / 1000) * 5;
  assert.ok(Math.min(...decoded) > least, `decoded ${decoded.join(", ")}: more than ${String(least)}`);
  assert.ok(most - Math.min(...decoded) <= most * 0.05, `equal: ${decoded.join(", ")}`);
  for (const [i, now] of after.entries()) {
    assert.equal(now.packetsLost, 0, "packets lost");
    // A browser that is not scheduled drops what is late by then.
    const dropped = now.framesDropped - (before[i]?.framesDropped ?? 0);
    assert.ok(dropped <= most * 0.02, `${String(dropped)} frames dropped of ${String(most)}`);
  }
  for (const [i, letter] of LETTERS.entries()) {
    const keys = sent[i]?.keys ?? 0;
    assert.ok(keys > DURATION_MS / 1000, `${String(keys)} keys`);
    await desktop.reaches(`the keys of page ${String(i)}`, () => desktop.key(letter), "+-".repeat(keys));
  }
  const notches = sent.reduce((sum, { notches }) => sum + notches, 0);
  assert.ok(notches > DURATION_MS / 1000);
  // The wheels add up, whoever turned them.
  await desktop.reaches("the wheel", () => desktop.button(5).length / 2, notches);
  assert.equal(desktop.button(4), "", "nobody turned it up");
});

test("the pointer is where it was put last, by whichever page", async () => {
  for (const round of [0, 1]) {
    for (const [i, page] of pages.entries()) {
      const at = { x: WIDTH / 2 + 20 + 40 * i + 150 * round, y: HEIGHT / 2 - 30 * i };
      await movePointer(page, at.x, at.y);
      await desktop.reaches(`the pointer of page ${String(i)}`, () => desktop.pointer(), at);
      // A page says its last position once more after 60 ms, since motion may be lost, unless it has heard that
      // another has moved meanwhile. Who takes over faster than that may be overruled by it.
      // By the page's own clock, which may stand still for a while: the next page's turn is after that.
      await page.evaluate((ms) => new Promise((done) => setTimeout(done, ms)), TURN_MS);
      await period(TURN_MS);
      assert.deepEqual(desktop.pointer(), at, "it stays there");
    }
  }
});

test("buttons of several pages are one set of buttons", async () => {
  const [a, b, c] = pages;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  for (const page of pages) await movePointer(page, WIDTH - 50, 50);
  await a.mouse.down({ button: "left" });
  await b.mouse.down({ button: "right" });
  await c.mouse.down({ button: "left" });
  await desktop.fence(c, "1");
  await desktop.reaches("left", () => desktop.button(1), "+");
  await desktop.reaches("right", () => desktop.button(3), "+");
  await a.mouse.up({ button: "left" });
  await desktop.fence(a, "2");
  assert.deepEqual([desktop.button(1), desktop.button(3)], ["+", "+"]);
  await c.mouse.up({ button: "left" });
  await desktop.reaches("left", () => desktop.button(1), "+-");
  await b.mouse.up({ button: "right" });
  await desktop.reaches("right", () => desktop.button(3), "+-");
});

/** Moves, types and turns the wheel until `end`; returns how much. */
async function use(page: Page, letter: string, index: number, end: number): Promise<{ keys: number; notches: number }> {
  const count = { keys: 0, notches: 0 };
  for (let step = 0; performance.now() < end; step++) {
    // Below the toolbar, which is there at first, and would have the wheel.
    await movePointer(page, WIDTH / 2 + 10 + ((step * 7 + index * 50) % (WIDTH / 2 - 20)), 100 + ((step * 5) % (HEIGHT - 120)));
    await page.keyboard.press(letter);
    count.keys++;
    await page.mouse.wheel(0, 100);
    count.notches++;
  }
  return count;
}
