/** Viewers whose network lets no UDP through watch and steer over TCP; whose UDP works does not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { advancing, launch, live, openPage, resumed, selectedPair, watch } from "./support/browser.js";
import { Desktop } from "./support/desktop.js";
import { Network } from "./support/network.js";
import { onFreePort } from "./support/ports.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SOURCE = { type: "test", width: 640, height: 360, fps: 30, audio: true };
const BLOCKED = { down: { drop: true }, up: { drop: true } };
/** Joins of which the quickest is taken, as anything may slow down one. */
const JOINS = 8;

async function start(): Promise<Server> {
  const server = await onFreePort((port) => Server.start(`listen_ips: [127.0.0.1]\nwebrtc: {tcp_port: ${String(port)}}\n`));
  await server.create("test", SOURCE);
  return server;
}

type Peers = { peers: { stats: { transport: string | null; frames: number } }[] };

async function transports(server: Server): Promise<(string | null)[]> {
  const { peers } = await server.json<Peers>("GET", "api/streamers/test/peers");
  return peers.map(({ stats }) => stats.transport);
}

/** The protocol of the pair that the browser has chosen. */
async function protocol(page: Page): Promise<string | undefined> {
  const pair = await selectedPair(page);
  return pair === undefined ? undefined : String(pair.local["protocol"]);
}

test("where UDP is blocked the first picture comes over TCP, and goes on when the web-server is started again", async () => {
  const server = await start();
  const network = await Network.start(server);
  await network.rules(BLOCKED);
  const { browser } = await launch();
  const page = await watch(browser, network.url, "test");
  await advancing(page, 30);
  assert.equal(await protocol(page), "tcp");
  await until("the API says so", async () => (await transports(server)).join() === "tcp");

  const web = new URL(server.url).port;
  await server.kill();
  await advancing(page, 30);
  await server.run(web);
  await resumed(page);
  await advancing(page, 30);
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1, "the same connection");
  assert.equal(await protocol(page), "tcp");

  // Somebody else comes by the new web-server.
  const other = await watch(browser, network.url, "test");
  await advancing(other, 10);
  assert.equal(await protocol(other), "tcp");
});

test("what is typed where UDP is blocked arrives", async () => {
  const server = await start();
  const network = await Network.start(server);
  await network.rules(BLOCKED);
  const desktop = await Desktop.create(server, "desk");
  const { browser } = await launch();
  const page = await watch(browser, network.url, "desk");
  assert.equal(await protocol(page), "tcp");
  await page.keyboard.type("overtcp");
  await desktop.reaches("text", () => desktop.text(), "overtcp");
});

test("where UDP works TCP is not used, and the first picture by TCP is hardly later", async () => {
  const server = await start();
  const network = await Network.start(server);
  const { browser } = await launch();
  let [byUdp, byTcp] = [Infinity, Infinity];
  // In turn, so that a machine that is slow for a while is slow for both.
  for (let n = 0; n < JOINS; n++) {
    await network.rules({});
    byUdp = Math.min(byUdp, await firstPicture(browser, network.url, "udp"));
    await network.rules(BLOCKED);
    byTcp = Math.min(byTcp, await firstPicture(browser, network.url, "tcp"));
  }
  console.log(`first picture: ${byUdp.toFixed(0)} ms over UDP, ${byTcp.toFixed(0)} ms over TCP`);
  assert.ok(byTcp <= 1.2 * byUdp + 300, `${byTcp.toFixed(0)} ms instead of ${byUdp.toFixed(0)} ms`);
});

/** From the begin of the page's load to its first picture, ms. */
async function firstPicture(browser: Browser, root: string, expected: string): Promise<number> {
  const page = await openPage(browser, new URL("s/test", root).href);
  await live(page);
  const ms = await page.evaluate(() => performance.getEntriesByName("oriel:first-frame")[0]?.startTime ?? Infinity);
  assert.equal(await protocol(page), expected);
  await page.context().close();
  return ms;
}
