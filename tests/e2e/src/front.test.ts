/** The node that a page was opened at is lost while the page watches a session of another node: the page goes on at a third one. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { forgetFrames, frames, launch, openPage } from "./support/browser.js";
import { Cluster, runsAt, together } from "./support/cluster.js";
import type { Server } from "./support/server.js";
import { until } from "./support/wait.js";

/** What a page waits before its first attempt, at most; before the second it waits twice as long. */
const FIRST_WAIT_MS = 320;
const FPS = 10;
/** Pictures that are presented before and after, so that those in between are seen. */
const ENOUGH = 10;

type State = { at: number; kind: string; attempt?: number; retryInMs?: number };
type Client = {
  peerId: string | null;
  negotiation: { connections: number };
  on(type: "state", listener: (state: Omit<State, "at">) => void): void;
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
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await page.evaluate(() => {
    window.states = [];
    (window.oriel?.client as unknown as Client).on("state", (state) => {
      window.states.push({ ...state, at: performance.now() });
    });
  });
  return page;
}

/** Pictures that the session has made, and those that it has sent to its only viewer. */
async function counted(): Promise<{ made: number; sent: number }> {
  const { stats, peers } = await c.report("far");
  return { made: stats.video.encoded, sent: peers[0]?.stats.frames ?? 0 };
}

async function presented(page: Page): Promise<number[]> {
  return (await frames(page)).flatMap(({ code }) => (code === null ? [] : [code]));
}

test("signalling is resumed at another node with the first attempt, and the picture does not stop", async () => {
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

  const sent = await counted();
  await a.kill();
  const newest = (await presented(page)).at(-1) ?? Infinity;
  const states = await until("it is connected again", async () => {
    const all = await page.evaluate(() => window.states);
    return all.at(-1)?.kind === "connected" && all;
  });
  const took = (states.at(-1)?.at ?? Infinity) - (states[0]?.at ?? 0);
  console.log(`resumed after ${took.toFixed(0)} ms: ${JSON.stringify(states)}`);
  // How long an attempt takes is up to the machine; how many there are, and what is waited for before, is up to the page.
  assert.ok(states.slice(0, -1).every(({ kind, attempt }) => kind === "reconnecting" && attempt === 1), JSON.stringify(states));
  const waited = states.reduce((sum, { retryInMs = 0 }) => sum + retryInMs, 0);
  assert.ok(waited <= FIRST_WAIT_MS, `it waits for ${waited.toFixed(0)} ms`);

  await until("further pictures", async () => (await presented(page)).filter((code) => code > newest).length >= ENOUGH);
  // A busy browser leaves out one or another; but all that was made meanwhile was sent, which is all that a node could stop.
  const now = await counted();
  const made = now.made - sent.made;
  assert.ok(made >= ENOUGH && now.sent - sent.sent >= made - FPS / 2, `of ${String(made)} pictures ${String(now.sent - sent.sent)} were sent`);
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
