/** A viewer whose network stops does not disturb the others, costs nothing, and comes back by itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { advancing, forgetFrames, frames, launch, watch } from "./support/browser.js";
import { Network } from "./support/network.js";
import { Server } from "./support/server.js";
import { period, until } from "./support/wait.js";

const CONTROL_MS = 3_000;
const OUTAGE_MS = 12_000;
const MOST_GROWTH = 5_000_000;

test("one viewer's network stops and returns", async () => {
  const server = await Server.start();
  await server.create("test", { type: "test", width: 640, height: 360, fps: 30, audio: true });
  const network = await Network.start(server);
  const { browser } = await launch();
  const healthy = await watch(browser, server.url, "test");
  const stopped = await watch(browser, network.url, "test");
  await advancing(stopped, 30);
  await stopped.evaluate(() => Object.assign(window, { sameDocument: true }));

  const control = await presentedPerSecond(healthy, CONTROL_MS);
  assert.ok(control > 5, `${control.toFixed(1)} fps before`);
  const before = await memory(server);
  await network.rules({ down: { drop: true }, up: { drop: true } });
  await until("the stopped page stands still", () =>
    stopped.evaluate(() => performance.now() - (window.probe.frames.at(-1)?.at ?? Infinity) > 1_000),
  );
  const during = await presentedPerSecond(healthy, OUTAGE_MS);
  assert.ok(during >= control * 0.75, `${during.toFixed(1)} fps instead of ${control.toFixed(1)}`);
  const growth = (await memory(server)) - before;
  assert.ok(growth < MOST_GROWTH, `${String(growth)} bytes more`);

  const last = (await lastNumber(stopped)) ?? Infinity;
  await network.rules({});
  const [next] = await advancing(stopped, 30, 30_000);
  assert.ok(next !== undefined && next > last + 30, `${String(next)} is new after ${String(last)}`);
  const same = await stopped.evaluate(() => (window as unknown as { sameDocument?: boolean }).sameDocument);
  assert.equal(same, true, "the page has not been loaded again");
});

/** Of a round trip of 40 ms. */
const FAR = { delay_ms: 20 };
const WATCHED_MS = 6_000;
/** A picture that comes late for the sake of the network, with what the machine adds to it. */
const LONGEST_GAP_MS = 2_500;

test("a viewer on a link that loses packets sees every picture, or nearly, and none late", async () => {
  const server = await Server.start();
  await server.create("test", { type: "test", width: 640, height: 360, fps: 24, audio: true });
  const network = await Network.start(server);
  const lossy = { ...FAR, loss: 0.05 };
  await network.rules({ down: lossy, up: lossy });
  const { browser } = await launch();
  const page = await watch(browser, network.url, "test");
  await advancing(page, 24, 20_000);
  await until("packets are sent twice", async () => ((await peers(server))[0]?.stats.copied ?? 0) > 0);
  const before = (await peers(server))[0]?.stats;
  const seen = await watched(page);
  const after = (await peers(server))[0]?.stats;
  assert.ok(before !== undefined && after !== undefined);
  // A packet that is asked for comes with the next picture, of which the last is presented.
  const asked = after.retransmitted - before.retransmitted;
  const copied = after.copied - before.copied;
  assert.ok(asked * 20 < copied, `${String(asked)} packets are asked for beside ${String(copied)} copies`);
  assert.ok(seen.fps > 12, `${seen.fps.toFixed(1)} fps of 24`);
  assert.ok(seen.longestGapMs < LONGEST_GAP_MS, `a gap of ${seen.longestGapMs.toFixed(0)} ms`);
  assert.equal((await peers(server))[0]?.stats.skipped_units, 0, "it is sent everything");
});

test("a link that carries less than the stream gets a smaller stream, and who can take more gets all of it", async () => {
  const server = await Server.start();
  const source = { type: "test", width: 640, height: 360, fps: 24, bitrate_kbps: 2_500, audio: true };
  await server.create("test", source);
  const network = await Network.start(server);
  await network.rules({ down: { ...FAR, rate_kbps: 1_200, queue_ms: 300 }, up: FAR });
  const { browser } = await launch();
  const narrow = await watch(browser, network.url, "test");
  await until("the link is known to be narrow", async () => (await estimate(server)) !== null);
  await period(5_000);
  const sent = await counted(server);
  const alone = await watched(narrow);
  assert.ok(alone.fps > 12, `${alone.fps.toFixed(1)} fps of 24`);
  assert.ok(alone.longestGapMs < LONGEST_GAP_MS, `a gap of ${alone.longestGapMs.toFixed(0)} ms`);
  // The estimate itself may be above the link for a moment: that is how a limit is found.
  const used = rateOf(sent, await counted(server));
  assert.ok(used < 1_250_000, `${used.toFixed(0)} bit/s into a link of 1.2 Mbit/s`);

  await until("the page is told why", () => narrow.evaluate(() => window.oriel?.client.path.reduced === true));

  // Whoever has a better one does not pay for it, and who has this one goes on with pictures that it carries.
  const wide = await watch(browser, server.url, "test");
  await advancing(wide, 24);
  const before = await counted(server);
  const beside = await watched(wide);
  const rate = rateOf(before, await counted(server));
  assert.ok(beside.fps > 12, `${beside.fps.toFixed(1)} fps of 24 beside a narrow link`);
  const still = await watched(narrow);
  assert.ok(still.fps > 12, `${still.fps.toFixed(1)} fps of 24 beside a wide link`);
  assert.ok(still.longestGapMs < LONGEST_GAP_MS, `a gap of ${still.longestGapMs.toFixed(0)} ms beside a wide link`);
  assert.equal((await peers(server)).at(-1)?.stats.skipped_units, 0, "it is sent everything");
  assert.ok(rate > 1_500_000, `${String(rate)} bit/s for whoever can take all of it`);

  await network.rules({ down: FAR, up: FAR });
  await until(
    "the page has all detail again",
    () => narrow.evaluate(() => window.oriel?.client.path.reduced === false),
    120_000,
  );
});

type Seen = { fps: number; longestGapMs: number };

/** What a page presents from now on, by its own clock. */
async function watched(page: Page): Promise<Seen> {
  await forgetFrames(page);
  await period(WATCHED_MS);
  const times = (await frames(page)).map(({ at }) => at);
  const gaps = times.slice(1).map((at, i) => at - (times[i] ?? at));
  return { fps: times.length / (WATCHED_MS / 1000), longestGapMs: Math.max(...gaps) };
}

type Stats = {
  bytes: number;
  skipped_units: number;
  retransmitted: number;
  copied: number;
  estimate_bps: number | null;
};
type Peers = { peers: { stats: Stats }[] };

async function peers(server: Server): Promise<Peers["peers"]> {
  const response = await server.request("GET", "api/streamers/test/peers");
  return ((await response.json()) as Peers).peers;
}

/** Of the peer that came first. */
async function estimate(server: Server): Promise<number | null> {
  return (await peers(server))[0]?.stats.estimate_bps ?? null;
}

type Counted = { bytes: number; at: number };

/** What was sent to the peer that came last, and when that was counted, which is done about every second. */
async function counted(server: Server): Promise<Counted> {
  const bytes = async (): Promise<number> => (await peers(server)).at(-1)?.stats.bytes ?? 0;
  const before = await bytes();
  return until("it is counted again", async () => {
    const now = await bytes();
    return now !== before && { bytes: now, at: performance.now() };
  });
}

/** Bits per second. */
function rateOf(from: Counted, to: Counted): number {
  return ((to.bytes - from.bytes) * 8) / ((to.at - from.at) / 1000);
}

async function lastNumber(page: Page): Promise<number | null> {
  return page.evaluate(() => window.probe.frames.findLast(({ code }) => code !== null)?.code ?? null);
}

/** By the page's own clock. */
async function presentedPerSecond(page: Page, ms: number): Promise<number> {
  const read = (): Promise<{ at: number; count: number }> =>
    page.evaluate(async () => ({ count: (await window.oriel?.stats())?.presented ?? 0, at: performance.now() }));
  const begin = await read();
  await period(ms);
  const end = await read();
  return ((end.count - begin.count) / (end.at - begin.at)) * 1000;
}

async function memory(server: Server): Promise<number> {
  return until("statistics", async () => (await server.streamer("test")).stats?.process.rss_bytes);
}
