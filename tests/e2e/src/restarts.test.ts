/**
 * The web-server is killed and started again at random moments while a page watches: not one picture less is presented than without,
 * and input arrives between and after. `ORIEL_RESTARTS` says how often (5; 20 in scripts/soak).
 */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { forgetFrames, frames, launch, resumed, watch } from "./support/browser.js";
import { Desktop } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { awake, Stalls } from "./support/stalls.js";
import { period, until } from "./support/wait.js";

const RESTARTS = Number(process.env["ORIEL_RESTARTS"] ?? "5");
/** How long pictures are counted, with a restart (at least) and without one. */
const COUNTED_MS = 2_500;

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch());
});

type Seen = {
  /** Pictures of the session that were never presented, of each hundred. */
  readonly missing: number;
  /** Longest time between two presented pictures, ms. */
  readonly gap: number;
};

/** What a page presents while `meanwhile` happens; for how long all of the machine stood still is no gap. */
async function seen(page: Page, meanwhile: () => Promise<void>): Promise<Seen> {
  const stalls = await Stalls.watch(page);
  await forgetFrames(page);
  await meanwhile();
  const stood = await stalls.all();
  stalls.end();
  const origin = await page.evaluate(() => performance.timeOrigin);
  const all = (await frames(page)).flatMap(({ at, code }) => (code === null ? [] : [{ at, code }]));
  const [first, last] = [all[0], all.at(-1)];
  assert.ok(first !== undefined && last !== undefined);
  const codes = new Set(all.map(({ code }) => code));
  const made = last.code - first.code + 1;
  const gaps = all.slice(1).map(({ at }, i) => awake({ from: (all[i]?.at ?? at) + origin, to: at + origin }, stood));
  return { missing: ((made - codes.size) / made) * 100, gap: Math.max(...gaps) };
}

/** Long enough to be counted, in time and in pictures. */
async function counted(page: Page): Promise<void> {
  await period(COUNTED_MS);
  await until("pictures to count", async () => (await frames(page)).filter(({ code }) => code !== null).length > 10);
}

test("a web-server that is killed again and again costs a page no picture", async () => {
  await server.create("counted", { type: "test", width: 640, height: 360, fps: 30, audio: false });
  const page = await watch(browser, server.url, "counted");
  const port = new URL(server.url).port;
  const [{ id: peer } = { id: "" }] = await server.peers("counted");
  const pid = await server.pid("counted");

  const control: Seen[] = [];
  const killed: Seen[] = [];
  for (let round = 0; round < RESTARTS; round++) {
    control.push(await seen(page, () => counted(page)));
    const run = async (): Promise<void> => {
      await period(Math.random() * 500);
      await server.kill();
      await period(Math.random() * 500);
      await server.run(port);
      await resumed(page);
      const now = await server.streamer("counted");
      assert.equal(now.state, "running");
      assert.deepEqual(now.peers.map(({ id }) => id), [peer], "the same peer");
    };
    // Whatever the moments: as long as without a restart, or a quick restart leaves too few pictures to judge by.
    killed.push(await seen(page, async () => void (await Promise.all([run(), counted(page)]))));
  }
  assert.equal(await server.pid("counted"), pid, "the same process");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1, "one connection all the time");

  const show = (runs: Seen[]): string =>
    runs.map(({ missing, gap }) => `${missing.toFixed(1)} %, ${gap.toFixed(0)} ms`).join("; ");
  console.log(`missing and longest gap without a restart: ${show(control)}\n… and with one: ${show(killed)}`);
  // A server that starts takes processor time, which on a busy machine the page lacks: so the best rounds with a restart are compared with the
  // middle of those without. A page that needed the server would lack it in every round, for as long as it is away.
  const sorted = (runs: Seen[], of: keyof Seen): number[] => runs.map((run) => run[of]).sort((a, b) => a - b);
  const best = (of: keyof Seen): number => sorted(killed, of)[Math.floor(RESTARTS / 8)] ?? Infinity;
  const middle = (of: keyof Seen): number => sorted(control, of)[Math.floor(RESTARTS / 2)] ?? 0;
  assert.ok(best("missing") <= middle("missing") + 10, "no more pictures are missing");
  assert.ok(best("gap") <= middle("gap") + 400, "no longer gap");
  await page.context().close();
  await server.delete("counted");
});

test("input arrives while the web-server is away, and after", async () => {
  const desktop = await Desktop.moving(server, "typed");
  const page = await watch(browser, server.url, "typed");
  const port = new URL(server.url).port;
  for (let round = 0; round < RESTARTS; round++) {
    await server.kill();
    await desktop.fence(page, "a");
    await server.run(port);
    await desktop.fence(page, "b");
    await resumed(page);
    await desktop.fence(page, "c");
  }
  await page.context().close();
  await server.delete("typed");
});
