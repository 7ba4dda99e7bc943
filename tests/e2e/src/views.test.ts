/** The viewer page with several slots: what is large, what is small, what is sent, and what people can do about it. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { fileWith, Server } from "./support/server.js";
import { unchanged, until } from "./support/wait.js";

/** Streams and the widths that tell them apart. */
const WIDTHS: Readonly<Record<string, number>> = { a: 160, b: 176, c: 192, d: 208, e: 224 };

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch());
});

/** A streamer that has streams and shows none of them. */
async function streamer(id: string): Promise<void> {
  const source = (width: number): object => ({ type: "test", width, height: 96, fps: 15 });
  const sources = Object.fromEntries(Object.entries(WIDTHS).map(([name, width]) => [name, source(width)]));
  await server.json("POST", "api/streamers?wait=running", { id, sources });
}

async function share(id: string, ...names: string[]): Promise<void> {
  for (const source of names) await server.json("POST", `api/streamers/${id}/slots`, { source });
}

function open(id: string): Promise<Page> {
  return openPage(browser, new URL(`s/${id}`, server.url).href);
}

type Shown = { slot: number; width: number; presented: number };

/** What the page presents: each slot with the width of its picture, the main view first. */
function shown(page: Page): Promise<Shown[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>(".tile")]
      .sort((a, b) => Number(b.classList.contains("main")) - Number(a.classList.contains("main")))
      .filter((tile) => tile.checkVisibility() && tile.getBoundingClientRect().height > 40)
      .map((tile) => {
        const video = tile.querySelector("video");
        return {
          slot: Number(tile.dataset["slot"]),
          width: video?.videoWidth ?? 0,
          presented: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
        };
      }),
  );
}

/** Waits until the page shows these streams, the first of them large, and their pictures advance. */
async function presents(page: Page, ...names: string[]): Promise<void> {
  const expected = names.map((name) => WIDTHS[name]).join();
  const start = await until(`${names.join()} on the page`, async () => {
    const now = await shown(page);
    return now.map(({ width }) => width).join() === expected && now;
  });
  await until(`moving pictures of ${names.join()}`, async () => {
    const now = await shown(page);
    return now.length === start.length && now.every(({ presented }, i) => presented > (start[i]?.presented ?? 0) + 2);
  });
}

/** What the page's own client says of its negotiation. */
async function negotiated(page: Page): Promise<{ connections: number; offers: number; signalingState: string }> {
  return until("a negotiation", () => page.evaluate(() => window.oriel?.client.negotiation));
}

/** Bytes that have come in the video section of a slot. */
async function bytes(page: Page, slot: number): Promise<number> {
  return page.evaluate(async (slot) => {
    const mid = window.oriel?.client.slots.get(slot)?.info?.mid;
    const report = await window.probe.connections.at(-1)?.getStats();
    let received = -1;
    report?.forEach((entry: { type: string; kind?: string; mid?: string; bytesReceived?: number }) => {
      if (entry.type === "inbound-rtp" && entry.kind === "video" && entry.mid === mid) received = entry.bytesReceived ?? 0;
    });
    return received;
  }, slot);
}

test("a page waits while nothing is shared, shows what comes, and falls back when it goes", async () => {
  await streamer("slots");
  const page = await open("slots");
  const waiting = await page.waitForSelector("[data-testid=nothing-shared]");
  assert.match((await waiting.textContent()) ?? "", /Nothing is shared yet/);

  await share("slots", "a");
  await presents(page, "a");
  await share("slots", "b", "c", "d");
  await presents(page, "a", "b", "c", "d");
  // Who comes later sees the same.
  const late = await open("slots");
  await presents(late, "a", "b", "c", "d");

  await page.click("[data-testid=thumb-2]");
  await presents(page, "c", "a", "b", "d");
  // Notices go after a while.
  const told = page.waitForFunction(() => document.querySelector("[data-testid=notice]")?.textContent?.includes("“c” is no longer shared"));
  await server.json("DELETE", "api/streamers/slots/slots/2");
  await told;
  await presents(page, "a", "b", "d");
  await presents(late, "a", "b", "d");
  assert.equal(await late.locator("[data-testid=notice]").count(), 0, "where it was small, nobody needs to be told");

  for (const slot of [0, 1, 3]) await server.json("DELETE", `api/streamers/slots/slots/${String(slot)}`);
  await page.waitForSelector("[data-testid=nothing-shared]");
  await share("slots", "e");
  await Promise.all([presents(page, "e"), presents(late, "e")]);
  for (const viewer of [page, late]) {
    assert.deepEqual(await negotiated(viewer), { connections: 1, offers: 1, signalingState: "stable" });
    await viewer.context().close();
  }
});

test("a page shares and stops sharing, and says why it cannot", async () => {
  await streamer("panel");
  const page = await open("panel");
  await page.click("[data-testid=share-offer]");
  for (const name of ["a", "b", "c", "d"]) {
    await page.click(`[data-testid=share-${name}]`);
    await page.waitForSelector(`[data-testid=share-${name}]`, { state: "detached" });
  }
  await presents(page, "a", "b", "c", "d");
  await page.click("[data-testid=share-e]");
  const error = await page.waitForSelector("[data-testid=share-error]");
  assert.match((await error.textContent()) ?? "", /all 4 slots/);
  await page.click("[data-testid=stop-1]");
  await presents(page, "a", "c", "d");
  await page.click("[data-testid=share-e]");
  // The free place in the row of slots is its place on the page too, after those that were there before.
  await until("the fifth", async () => (await shown(page)).some(({ width }) => width === WIDTHS["e"]));
  await page.context().close();
});

test("thumbnails are dragged to another place", async () => {
  await streamer("drag");
  await share("drag", "a", "b", "c", "d");
  const page = await open("drag");
  await presents(page, "a", "b", "c", "d");
  const order = (): Promise<string> =>
    page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>(".tile.thumb")]
        .sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left)
        .map((tile) => tile.dataset["slot"])
        .join(),
    );
  const ordered = (slots: string): Promise<unknown> => until(`the order ${slots}`, async () => (await order()) === slots);
  await ordered("1,2,3");
  await page.dragAndDrop("[data-testid=thumb-3]", "[data-testid=thumb-1]");
  await ordered("3,1,2");
  await page.focus("[data-testid=thumb-3] button");
  await page.keyboard.press("Control+ArrowRight");
  await ordered("1,3,2");
  await presents(page, "a", "b", "c", "d");
  await page.context().close();
});

test("thumbnails that nobody can see are not sent, and are there again at once", async () => {
  await streamer("hidden");
  await share("hidden", "a", "b");
  const page = await open("hidden");
  await presents(page, "a", "b");
  const status = (slot: number): Promise<string | null | undefined> =>
    page.evaluate((slot) => window.oriel?.client.slots.get(slot)?.status, slot);
  await page.hover("[data-testid=toolbar-handle]");
  await page.click("[data-testid=tool-thumbnails]");
  await until("the pause", async () => (await status(1)) === "paused");
  const tenMore = async (): Promise<void> => {
    const presented = async (): Promise<number> => (await shown(page))[0]?.presented ?? 0;
    const from = await presented();
    await until("ten more pictures of the main view", async () => (await presented()) >= from + 10);
  };
  await presents(page, "a");
  await unchanged("nothing comes in a slot that nobody sees", () => bytes(page, 1), tenMore);
  await page.click("[data-testid=tool-thumbnails]");
  await presents(page, "a", "b");
  await until("no pause", async () => (await status(1)) === "active");
  await page.context().close();
});

test("windows are shared from the page, typed into in turn, followed, and missed when they close", async () => {
  const terminal = (title: string, at: string): string =>
    `xterm -T ${title} -geometry 40x10+${at}+40 -e sh -c 'read line; echo $line > ${server.dir}/${title}; read line' &`;
  const script = join(server.dir, "windows.sh");
  writeFileSync(script, `${terminal("One", "10")} ${terminal("Two", "330")}\n`);
  // Windows that are there before openbox has begun are lost to it.
  const command = ["openbox", "--startup", `sh ${script}`];
  const source = { type: "desktop", width: 640, height: 360, audio: false, command };
  await server.json("POST", "api/streamers?wait=running", { id: "windows", share: false, source });
  type Window = { id: number; title: string };
  const windows = await until("both windows", async () => {
    const list = await server.json<{ windows: Window[] }>("GET", "api/streamers/windows/windows");
    return list.windows.length === 2 && list.windows;
  });
  const page = await open("windows");
  await page.click("[data-testid=share-offer]");
  for (const title of ["One", "Two"]) {
    const row = `[data-testid=share-window-${String(windows.find((window) => window.title === title)?.id)}]`;
    await page.click(row);
    await page.waitForSelector(row, { state: "detached" });
  }
  await page.click("[data-testid=tool-share]");
  const main = async (): Promise<string | null> => page.getAttribute("[data-testid=main-view]", "data-slot");
  await until("a live picture", async () => (await page.getAttribute("[data-testid=viewer]", "data-live")) === "true");
  assert.equal(await main(), "0");

  // The keyboard goes to what is large.
  await page.click("[data-testid=thumb-1]");
  await page.keyboard.type("second\n");
  await fileWith(join(server.dir, "Two"), /^second\n$/);
  await page.click("[data-testid=thumb-0]");
  await page.keyboard.type("first\n");
  await fileWith(join(server.dir, "One"), /^first\n$/);

  await page.hover("[data-testid=toolbar-handle]");
  await page.click("[data-testid=tool-follow]");
  // Somebody else types into the other window, which gets the focus by that.
  await server.json("POST", "api/streamers/windows/input", { slot: 1, events: [{ type: "text", text: "x" }] });
  await until("the view follows", async () => (await main()) === "1");
  // Notices go after a while, so it is waited for from before.
  const told = page.waitForFunction(() =>
    document.querySelector("[data-testid=notice]")?.textContent?.includes("“Two” is gone: the window was closed"),
  );
  await server.json("POST", "api/streamers/windows/input", { slot: 1, events: [{ type: "text", text: "\n" }] });
  await told;
  assert.equal(await main(), "0");
  assert.deepEqual(await negotiated(page), { connections: 1, offers: 1, signalingState: "stable" });
  await page.context().close();
});
