/** Viewers whom neither UDP nor TCP of WebRTC reaches watch and steer over the WebSocket, and go back when they can. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { advancing, launch, resumed, watch } from "./support/browser.js";
import { Desktop } from "./support/desktop.js";
import { Network } from "./support/network.js";
import { Server } from "./support/server.js";
import { steadily } from "./support/stalls.js";
import { until } from "./support/wait.js";

/** Little: a client that is slow to say what it has got, as a busy one is, is sent as little as a narrow path carries. */
const SOURCE = { type: "test", width: 320, height: 180, fps: 15, audio: true };
const CONFIG = "listen_ips: [127.0.0.1]\nwebrtc: {websocket_media: true}\n";
const BLOCKED = { down: { drop: true }, up: { drop: true } };

/** A path that did not work may be tried again a minute later. */
const TRIED_AGAIN_MS = 120_000;

type Peers = { peers: { id: string; state: string; stats: { transport: string | null } }[] };

async function peers(server: Server, id: string): Promise<Peers["peers"]> {
  return (await server.json<Peers>("GET", `api/streamers/${id}/peers`)).peers;
}

async function comesBy(server: Server, id: string, transport: string): Promise<void> {
  await until(
    `media comes by ${transport}`,
    async () => (await peers(server, id)).map(({ stats }) => stats.transport).join() === transport,
    TRIED_AGAIN_MS,
  );
}

/** What the page itself says of the path. */
async function path(page: Page): Promise<string> {
  return page.evaluate(() => {
    const names = [...document.querySelectorAll("[data-testid=stats] dt")];
    return names.find((name) => name.textContent === "Path")?.nextElementSibling?.textContent ?? "";
  });
}

test("where WebRTC does not get through the picture comes over the WebSocket, and the page says so", async () => {
  const server = await Server.start(CONFIG);
  await server.create("test", SOURCE);
  const network = await Network.start(server);
  await network.rules(BLOCKED);
  const { browser } = await launch();
  const page = await watch(browser, network.url, "test");
  await advancing(page, 30, TRIED_AGAIN_MS);
  await comesBy(server, "test", "websocket");
  // The toolbar comes out for what has the focus.
  await page.focus("[data-testid=tool-stats]");
  await page.keyboard.press("Enter");
  await until("the statistics name the path", async () => (await path(page)) === "WebSocket");
  const first = await page.evaluate(() => performance.getEntriesByName("oriel:first-frame")[0]?.startTime ?? Infinity);
  console.log(`first picture: ${first.toFixed(0)} ms over the WebSocket`);

  // Longer than WebRTC tries by itself.
  const joined = (await peers(server, "test"))[0]?.id;
  const offers = () => page.evaluate(() => window.oriel?.client.negotiation.offers ?? 0);
  await until("it is tried again", async () => (await offers()) >= 4, TRIED_AGAIN_MS);
  await advancing(page, 10, TRIED_AGAIN_MS);
  await network.rules({});
  await comesBy(server, "test", "udp");
  await advancing(page, 30);
  assert.equal((await peers(server, "test"))[0]?.id, joined, "the same peer");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1);
});

test("media that is interrupted goes on by WebSocket, and comes back to the same connection", async () => {
  const server = await Server.start(CONFIG);
  await server.create("test", SOURCE);
  const network = await Network.start(server);
  const { browser } = await launch();
  const page = await watch(browser, network.url, "test");
  await comesBy(server, "test", "udp");
  await advancing(page, 30);
  const joined = (await peers(server, "test"))[0]?.id;
  const blocked = performance.now();
  await network.rules(BLOCKED);
  await comesBy(server, "test", "websocket");
  await advancing(page, 1, TRIED_AGAIN_MS);
  console.log(`${(performance.now() - blocked).toFixed(0)} ms without a picture`);
  await advancing(page, 10, TRIED_AGAIN_MS);
  const unblocked = performance.now();
  await network.rules({});
  await comesBy(server, "test", "udp");
  console.log(`back on UDP after ${(performance.now() - unblocked).toFixed(0)} ms`);
  await advancing(page, 30);
  assert.equal((await peers(server, "test"))[0]?.id, joined, "the same peer");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1);
});

test("what is typed where WebRTC does not get through arrives, and the session goes on with another web-server", async () => {
  const server = await Server.start(CONFIG);
  const network = await Network.start(server);
  await network.rules(BLOCKED);
  const desktop = await Desktop.create(server, "desk");
  const { browser } = await launch();
  const page = await watch(browser, network.url, "desk");
  await page.keyboard.type("overweb");
  await desktop.reaches("text", () => desktop.text(), "overweb");
  await comesBy(server, "desk", "websocket");

  const before = (await peers(server, "desk"))[0]?.id;
  const web = new URL(server.url).port;
  await server.kill();
  await server.run(web);
  await resumed(page);
  await until("input is taken", () => page.evaluate(() => document.activeElement?.tagName === "TEXTAREA"));
  await until("a key arrives again", async () => {
    await page.keyboard.type("x");
    return desktop.text().endsWith("x");
  });
  assert.equal((await peers(server, "desk"))[0]?.id, before, "the same peer");
});

test("media goes back to UDP when it gets through again, with what is held", async () => {
  const server = await Server.start(CONFIG);
  const network = await Network.start(server);
  await network.rules(BLOCKED);
  const desktop = await Desktop.moving(server, "desk");
  const { browser } = await launch();
  const page = await watch(browser, network.url, "desk");
  await comesBy(server, "desk", "websocket");
  await steadily(
    [page],
    async () => {
      const before = desktop.key("b");
      await page.keyboard.down("b");
      await desktop.reaches("the key is down", () => desktop.key("b"), `${before}+`);
      await network.rules({});
      await comesBy(server, "desk", "udp");
      await until("the media socket is closed", () =>
        page.evaluate(() => window.probe.sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length === 1));
      assert.equal(desktop.key("b"), `${before}+`, "the key is held");
      await page.keyboard.up("b");
      await desktop.reaches("the key is up", () => desktop.key("b"), `${before}+-`);
    },
    async () => {
      await page.keyboard.up("b");
      await network.rules(BLOCKED);
      await comesBy(server, "desk", "websocket");
      await desktop.fence(page, "1");
    },
  );
  assert.equal((await peers(server, "desk")).length, 1);
});
