/** Pages of one node of a cluster, for a session that another one runs. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Page } from "playwright-core";
import { inbound, launch, watch } from "./support/browser.js";
import { Cluster, together } from "./support/cluster.js";
import { Desktop, movePointer } from "./support/desktop.js";
import type { Server } from "./support/server.js";
import { until } from "./support/wait.js";

let a: Server;
let b: Server;
let desktop: Desktop;
let page: Page;

before(async () => {
  const cluster = await Cluster.start();
  [a, b] = await Promise.all([cluster.node("a"), cluster.node("b")]);
  await together(a, b);
  // What is created now is for the other one.
  await a.json("POST", "api/nodes/a/drain");
  desktop = await Desktop.create(b, "desk");
  const { browser } = await launch();
  page = await watch(browser, a.url, "desk");
});

test("a page of another node gets pictures of the session and steers it", async () => {
  assert.equal((await b.json<{ node: string }>("GET", "api/streamers/desk")).node, "b");
  await page.keyboard.type("fromafar");
  await desktop.reaches("text", () => desktop.text(), "fromafar");
  await movePointer(page, 100, 100);
  await desktop.reaches("the pointer", () => desktop.pointer(), { x: 100, y: 100 });
  const peers = await a.peers("desk");
  assert.deepEqual(
    peers.map(({ kind, state }) => [kind, state]),
    [["native", "connected"]],
  );
});

test("who steers is decided at any node, and who is removed leaves", async () => {
  const peer = (await b.peers("desk"))[0]?.id;
  assert.ok(peer !== undefined);
  await b.json("PATCH", `api/streamers/desk/peers/${peer}`, { role: "viewer" });
  await until("the page is told", async () => {
    const role = (await a.peers("desk")).find(({ id }) => id === peer)?.role;
    return role === "viewer" ? true : undefined;
  });
  const isController = (): Promise<boolean> => page.evaluate(() => window.oriel?.client.role === "controller");
  await until("the page knows that it only watches", async () => !(await isController()));
  await a.json("PATCH", `api/streamers/desk/peers/${peer}`, { role: "controller" });
  await until("the page knows that it steers", isController);
  await page.keyboard.type("again");
  await desktop.reaches("text", () => desktop.text(), "fromafaragain");
});

test("a page follows a session that is moved", async () => {
  await a.json("POST", "api/nodes/a/undrain");
  // The other one hears of it a moment later.
  await together(a, b);
  await b.json("POST", "api/streamers/desk/move", { node: "a" });
  await until("it runs at the other node", async () => {
    const response = await b.request("GET", "api/streamers/desk");
    if (response.status !== 200) return undefined;
    const { node, state, peers } = (await response.json()) as { node: string; state: string; peers: unknown[] };
    return node === "a" && state === "running" && peers.length === 1 ? true : undefined;
  });
  await until("its pictures are decoded", async () => {
    const { framesDecoded } = await inbound(page, "video");
    return framesDecoded > 0 ? true : undefined;
  });
});
