/** Three pages that watch and steer one desktop at the same time. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { type Inbound, inbound, launch, readNothing, watch } from "./support/browser.js";
import { Desktop, HEIGHT, movePointer, WIDTH } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { Stalls } from "./support/stalls.js";
import { period, unchanged } from "./support/wait.js";

const DURATION_MS = Number(process.env["ORIEL_SHARED_S"] ?? 10) * 1000;
/** People do not take turns faster. */
const TURN_MS = 150;
/** Frames and keys of each page, without which nothing is shown. */
const LEAST = 20;
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
  for (const page of pages) await readNothing(page);
});

test("three pages in use at the same time lose no frame and no input", async () => {
  const stalls = await Stalls.watch(...pages);
  const end = performance.now() + DURATION_MS;
  const sent = await Promise.all(pages.map((page, i) => use(page, LETTERS[i] ?? "", i, end)));
  await desktop.rest();
  // Each page against what was sent to it, and not against other pages: how many it is is up to the machine, and what it has counted is read
  // at another time. So it is read once there are no more of them.
  const peers = await Promise.all(pages.map((page) => page.evaluate(() => window.oriel?.client.peerId)));
  const totals = await unchanged(
    "nothing is sent any more",
    async () => {
      const report = await server.report("shared");
      const received = await Promise.all(pages.map((page) => inbound(page, "video")));
      return received.map((counted, i) => ({
        sent: report.peers.find(({ id }) => id === peers[i])?.stats.frames ?? 0,
        ...framesOf(counted),
      }));
    },
    () => server.report("shared"),
  );
  stalls.end();
  const stalled = (await stalls.all()).reduce((sum, { from, to }) => sum + to - from, 0);
  console.log(`frames: ${JSON.stringify(totals)}, ${stalled.toFixed(0)} ms without a tick`);
  for (const { sent, received, decoded } of totals) {
    assert.ok(sent > LEAST, `${String(sent)} frames sent`);
    // What comes while a browser is not scheduled has no place to wait in, or is too late to be shown.
    const late = (stalled / 1000) * Desktop.FPS;
    assert.ok(received >= sent * 0.98 - late, `${String(received)} frames of ${String(sent)} have come`);
    assert.ok(decoded >= received * 0.98 - late, `${String(decoded)} frames of ${String(received)} were decoded`);
  }
  for (const [i, letter] of LETTERS.entries()) {
    const keys = sent[i]?.keys ?? 0;
    assert.ok(keys >= LEAST, `${String(keys)} keys`);
    await desktop.reaches(`the keys of page ${String(i)}`, () => desktop.key(letter), "+-".repeat(keys));
  }
  const notches = sent.reduce((sum, { notches }) => sum + notches, 0);
  // The wheels add up, whoever turned them.
  await desktop.reaches("the wheel", () => desktop.button(5).length / 2, notches);
  assert.equal(desktop.button(4), "", "nobody turned it up");
});

function framesOf({ framesReceived, framesDecoded }: Inbound): { received: number; decoded: number } {
  return { received: framesReceived, decoded: framesDecoded };
}

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

/** Moves, types and turns the wheel until `end`, and often enough; returns how much. */
async function use(page: Page, letter: string, index: number, end: number): Promise<{ keys: number; notches: number }> {
  const count = { keys: 0, notches: 0 };
  for (let step = 0; performance.now() < end || count.keys < LEAST; step++) {
    // Below the toolbar, which is there at first, and would have the wheel.
    await movePointer(page, WIDTH / 2 + 10 + ((step * 7 + index * 50) % (WIDTH / 2 - 20)), 100 + ((step * 5) % (HEIGHT - 120)));
    await page.keyboard.press(letter);
    count.keys++;
    await page.mouse.wheel(0, 100);
    count.notches++;
  }
  return count;
}
