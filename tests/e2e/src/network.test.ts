/** A viewer whose network stops does not disturb the others, costs nothing, and comes back by itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { advancing, launch, watch } from "./support/browser.js";
import { Network } from "./support/network.js";
import { Server } from "./support/server.js";
import { period, until } from "./support/wait.js";

const CONTROL_MS = 5_000;
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
  assert.ok(control > 20, `${control.toFixed(1)} fps before`);
  const before = await memory(server);
  await network.rules({ down: { drop: true }, up: { drop: true } });
  await until("the stopped page stands still", () =>
    stopped.evaluate(() => performance.now() - (window.probe.frames.at(-1)?.at ?? Infinity) > 1_000),
  );
  const during = await presentedPerSecond(healthy, OUTAGE_MS);
  assert.ok(during >= control * 0.9, `${during.toFixed(1)} fps instead of ${control.toFixed(1)}`);
  const growth = (await memory(server)) - before;
  assert.ok(growth < MOST_GROWTH, `${String(growth)} bytes more`);

  const last = (await lastNumber(stopped)) ?? Infinity;
  await network.rules({});
  const [next] = await advancing(stopped, 30, 30_000);
  assert.ok(next !== undefined && next > last + 30, `${String(next)} is new after ${String(last)}`);
  const same = await stopped.evaluate(() => (window as unknown as { sameDocument?: boolean }).sameDocument);
  assert.equal(same, true, "the page has not been loaded again");
});

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
