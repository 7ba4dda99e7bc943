/**
 * The web-server is killed and started again at random moments while a page watches: not one picture less is presented than without,
 * and input arrives between and after. `ORIEL_RESTARTS` says how often (3; 20 in scripts/soak).
 */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { forgetFrames, frames, launch, watch } from "./support/browser.js";
import { Desktop } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { period, until } from "./support/wait.js";

const RESTARTS = Number(process.env["ORIEL_RESTARTS"] ?? "3");
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

/** What a page has presented since its frames were forgotten. */
async function seen(page: Page): Promise<Seen> {
  const all = (await frames(page)).flatMap(({ at, code }) => (code === null ? [] : [{ at, code }]));
  const [first, last] = [all[0], all.at(-1)];
  assert.ok(first !== undefined && last !== undefined && all.length > 10, `${String(all.length)} pictures`);
  const codes = new Set(all.map(({ code }) => code));
  const made = last.code - first.code + 1;
  const gaps = all.slice(1).map(({ at }, i) => at - (all[i]?.at ?? at));
  return { missing: ((made - codes.size) / made) * 100, gap: Math.max(...gaps) };
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
    await forgetFrames(page);
    await period(COUNTED_MS);
    control.push(await seen(page));

    await forgetFrames(page);
    // Whatever the moments: as long as without a restart, or a quick restart leaves too few pictures to judge by.
    const counted = period(COUNTED_MS);
    await period(Math.random() * 500);
    await server.kill();
    await period(Math.random() * 500);
    await server.run(port);
    await until("the page is back", () => page.evaluate(() => window.oriel?.client.state.kind === "connected"), 30_000);
    const now = await server.streamer("counted");
    assert.equal(now.state, "running");
    assert.deepEqual(now.peers.map(({ id }) => id), [peer], "the same peer");
    await counted;
    killed.push(await seen(page));
  }
  assert.equal(await server.pid("counted"), pid, "the same process");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1, "one connection all the time");

  const show = (runs: Seen[]): string =>
    runs.map(({ missing, gap }) => `${missing.toFixed(1)} %, ${gap.toFixed(0)} ms`).join("; ");
  console.log(`missing and longest gap without a restart: ${show(control)}\n… and with one: ${show(killed)}`);
  // The machine may be busy in either: the middle one of each is compared. A server that starts takes processor time; without one
  // that is needed nothing at all would come for as long as it is away.
  const middle = (runs: Seen[], of: keyof Seen): number =>
    runs.map((run) => run[of]).sort((a, b) => a - b)[Math.floor(runs.length / 2)] ?? 0;
  assert.ok(middle(killed, "missing") <= middle(control, "missing") + 10, "no more pictures are missing");
  assert.ok(middle(killed, "gap") <= middle(control, "gap") + 400, "no longer gap");
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
    await until("the page is back", () => page.evaluate(() => window.oriel?.client.state.kind === "connected"), 30_000);
    await desktop.fence(page, "c");
  }
  await page.context().close();
  await server.delete("typed");
});
