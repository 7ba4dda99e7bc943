/** The node that a page was opened at is lost while the page watches a session of another node: the page goes on at a third one. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { forgetFrames, frames, launch, openPage } from "./support/browser.js";
import { Cluster, runsAt, together } from "./support/cluster.js";
import type { Server } from "./support/server.js";
import { until } from "./support/wait.js";

/** From the end of the node to the resumption of the signalling, as the page sees it. */
const RESUMED_MS = 1_500;
const FPS = 10;
/** Pictures that are presented before and after, so that those in between are seen. */
const ENOUGH = 10;

type State = { at: number; kind: string };
type Client = {
  peerId: string | null;
  negotiation: { connections: number };
  on(type: "state", listener: (state: { kind: string }) => void): void;
  api: { streamer(id: string): Promise<{ node?: string; peers: { id: string }[] }> };
};

declare global {
  interface Window {
    states: State[];
  }
}

let cluster: Cluster;
let b: Server;
let c: Server;
let browser: Browser;

before(async () => {
  cluster = await Cluster.start();
  [b, c] = await Promise.all([cluster.node("b"), cluster.node("c")]);
  ({ browser } = await launch());
});

/** A page at node `front` that watches what runs at b, and notes the states of its client from now on. */
async function watchAt(front: Server, id: string): Promise<Page> {
  const page = await openPage(browser, new URL(`s/${id}`, front.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 20_000 });
  await page.evaluate(() => {
    window.states = [];
    (window.oriel?.client as unknown as Client).on("state", ({ kind }) => {
      window.states.push({ at: performance.now(), kind });
    });
  });
  return page;
}

async function presented(page: Page): Promise<number[]> {
  return (await frames(page)).flatMap(({ code }) => (code === null ? [] : [code]));
}

test("signalling is resumed at another node within 1.5 s, and the picture does not stop", async () => {
  const a = await cluster.node("a");
  await together(a, b, c);
  await a.json("POST", "api/streamers?wait=running", {
    id: "far",
    source: { type: "test", width: 640, height: 360, fps: FPS },
    placement: { node: "b" },
  });
  await runsAt(c, "far", "b");
  const page = await watchAt(a, "far");
  // The first pictures come while the page is still being set up.
  await until("the picture is steady", async () => (await presented(page)).length >= ENOUGH);
  await forgetFrames(page);
  await until("pictures", async () => (await presented(page)).length >= ENOUGH);

  await a.kill();
  const states = await until("it is connected again", async () => {
    const all = await page.evaluate(() => window.states);
    return all.at(-1)?.kind === "connected" && all;
  });
  const took = (states.at(-1)?.at ?? Infinity) - (states[0]?.at ?? 0);
  console.log(`resumed after ${took.toFixed(0)} ms`);
  assert.equal(states[0]?.kind, "reconnecting");
  assert.ok(took <= RESUMED_MS, `${took.toFixed(0)} ms`);

  const before = (await presented(page)).length;
  await until("further pictures", async () => (await presented(page)).length >= before + ENOUGH);
  const codes = await presented(page);
  // A busy browser leaves out one or another.
  const steps = codes.slice(1).map((code, at) => code - (codes[at] ?? code));
  assert.ok(Math.max(...steps) <= FPS / 2, codes.join(" "));
  assert.equal(await page.evaluate(() => (window.oriel?.client as unknown as Client).negotiation.connections), 1, "the media path is the same");

  // REST goes to that node as well, and what it says is of the same peer.
  const peer = await page.evaluate(async () => {
    const client = window.oriel?.client as unknown as Client;
    const { node, peers } = await client.api.streamer("far");
    return { node, known: peers.some(({ id }) => id === client.peerId) };
  });
  assert.deepEqual(peer, { node: "b", known: true });
  await page.context().close();
});
