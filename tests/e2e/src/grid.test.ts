/** Pages with many streams over one connection: the grid, and the page for frames. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

/** Streams and the widths that tell them apart. */
const WIDTHS: Readonly<Record<string, number>> = { a: 320, b: 336, c: 352, d: 368, e: 384, f: 400 };

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  const sources = Object.fromEntries(
    Object.entries(WIDTHS).map(([name, width]) => [name, { type: "test", width, height: 192, fps: 12 }]),
  );
  await server.json("POST", "api/streamers?wait=running", { id: "cameras", share: false, sources });
  ({ browser } = await launch());
});

type TileState = { stream: string; status: string; width: number; presented: number; muted: boolean; large: boolean };

function tiles(page: Page): Promise<TileState[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("[data-testid^=tile-]")].map((tile) => {
      const video = tile.querySelector("video");
      return {
        stream: tile.dataset["stream"] ?? "",
        status: tile.querySelector<HTMLElement>("[data-testid=slot-status]")?.dataset["status"] ?? "",
        width: video?.videoWidth ?? 0,
        presented: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
        muted: video?.muted ?? false,
        large: tile.getAttribute("aria-pressed") === "true",
      };
    }),
  );
}

/** Waits until the tiles of these streams present moving pictures of their own. */
async function presents(page: Page, ...names: string[]): Promise<void> {
  await page.waitForSelector("[data-testid=camera-grid]");
  const of = async (): Promise<TileState[]> => (await tiles(page)).filter(({ stream }) => names.includes(stream));
  const start = await until(`tiles of ${names.join()}`, async () => {
    const now = await of();
    return now.length === names.length && now;
  });
  await until(`moving pictures of ${names.join()}`, async () =>
    (await of()).every(
      ({ stream, status, width, presented }, i) =>
        status === "active" && width === WIDTHS[stream] && presented > (start[i]?.presented ?? 0) + 2,
    ),
  );
}

function grid(query: string): Promise<Page> {
  return openPage(browser, new URL(`grid${query}`, server.url).href);
}

test("a grid shows its streams over one connection, and one that is not there harms no other", async () => {
  const page = await grid("?streams=a,b,nowhere,c");
  await page.waitForSelector("[data-testid=tile-3]");
  await presents(page, "a", "b", "c");
  const missing = page.locator("[data-testid=tile-2]");
  await until("it says so", async () => /no stream of this name/.test((await missing.textContent()) ?? ""));
  assert.ok((await tiles(page)).every(({ muted }) => muted), "a grid is silent");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1);
  await page.context().close();
});

test("a click enlarges a camera, with its sound, and Escape goes back", async () => {
  const page = await grid("");
  await page.waitForSelector("[data-testid=tile-5]");
  await presents(page, ...Object.keys(WIDTHS));
  const height = async (): Promise<number> => (await page.locator("[data-testid=tile-4]").boundingBox())?.height ?? 0;
  const small = await height();
  await page.click("[data-testid=tile-4]");
  await until("a large tile", async () => (await height()) > 1.3 * small);
  assert.deepEqual(
    (await tiles(page)).filter(({ large }) => large).map(({ stream }) => stream),
    ["e"],
  );
  await until("its sound, and no other", async () =>
    (await tiles(page)).every(({ muted, large }) => muted !== large),
  );
  await presents(page, "e");
  await page.keyboard.press("Escape");
  await until("the grid", async () => (await tiles(page)).every(({ large, muted }) => !large && muted));
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1);
  await page.context().close();
});

test("a grid that loses its WebSocket goes on with the same pictures, and can be switched again", async () => {
  const page = await grid("?streams=a,b");
  await presents(page, "a", "b");
  const resumed = page.waitForEvent("websocket").then((socket) =>
    socket.waitForEvent("framereceived", ({ payload }) => /"multistream\/ready".*"resumed":true/.test(String(payload))),
  );
  await page.evaluate(() => {
    window.probe.sockets.at(-1)?.close();
  });
  await resumed;
  await presents(page, "a", "b");
  const made = await page.evaluate(() => [window.probe.sockets.length, window.probe.connections.length]);
  assert.deepEqual(made, [2, 1]);
  await page.click("[data-testid=tile-0]");
  await presents(page, "a", "b");
  await page.context().close();
});

test("tiles are dragged to other places, also by keys, and the address keeps them there", async () => {
  const page = await grid("?streams=a,b,c");
  await presents(page, "a", "b", "c");
  const places = async (): Promise<string[]> => {
    const boxes = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("[data-testid^=tile-]")].map((tile) => {
        const { x, y } = tile.getBoundingClientRect();
        return { name: tile.dataset["stream"] ?? "", x, y };
      }),
    );
    return boxes.sort((one, other) => one.y - other.y || one.x - other.x).map(({ name }) => name);
  };
  assert.deepEqual(await places(), ["a", "b", "c"]);
  await page.dragAndDrop("[data-testid=tile-0]", "[data-testid=tile-2]");
  await until("a in the last place", async () => (await places()).join() === "b,c,a");
  await page.focus("[data-testid=tile-0]");
  await page.keyboard.press("Control+ArrowLeft");
  await until("a in the midst", async () => (await places()).join() === "b,a,c");
  await presents(page, "a", "b", "c");
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1);
  assert.equal(new URL(page.url()).searchParams.get("streams"), "b,a,c");
  await page.reload();
  await presents(page, "a", "b", "c");
  assert.deepEqual(await places(), ["b", "a", "c"]);
  await page.context().close();
});

test("a grid asks the server whose streams there are, and says when there are none", async () => {
  const yard = await Server.start("multistream:\n  streamer: yard\n");
  const empty = await openPage(browser, new URL("grid", yard.url).href);
  assert.match((await (await empty.waitForSelector("[data-testid=no-streams]")).textContent()) ?? "", /“yard” has no streams/);
  await empty.context().close();
  const gate = { type: "test", width: 416, height: 192, fps: 12 };
  await yard.json("POST", "api/streamers?wait=running", { id: "yard", share: false, sources: { gate } });
  const list = await yard.json<{ streamer: string; max_slots: number; streams: { name: string }[] }>("GET", "api/streams");
  assert.deepEqual([list.streamer, list.max_slots, list.streams.map(({ name }) => name)], ["yard", 9, ["gate"]]);
  const page = await openPage(browser, new URL("grid", yard.url).href);
  await page.waitForSelector("[data-testid=tile-0]");
  await until("its picture", async () => (await tiles(page))[0]?.width === 416);
  await page.context().close();
});

test("one stream can be shown in frames of other sites, and the other pages cannot", async () => {
  const policy = async (path: string): Promise<string> =>
    (await server.request("GET", path)).headers.get("content-security-policy") ?? "";
  assert.match(await policy("stream.html?src=a"), /frame-ancestors \*$/);
  for (const path of ["", "grid", "s/cameras"]) assert.match(await policy(path), /frame-ancestors 'self'$/);

  const page = await openPage(browser, new URL("stream.html?src=b", server.url).href);
  const video = (): Promise<{ width: number; muted: boolean; presented: number } | undefined> =>
    page.evaluate(() => {
      const found = document.querySelector("video");
      if (found === null) return undefined;
      const presented = found.getVideoPlaybackQuality().totalVideoFrames;
      return { width: found.videoWidth, muted: found.muted, presented };
    });
  await until("its picture", async () => {
    const now = await video();
    return now?.width === WIDTHS["b"] && now?.presented !== undefined && now.presented > 5;
  });
  assert.equal((await video())?.muted, true, "silent until it is clicked");
  await page.click("[data-testid=sound]");
  await until("sound", async () => (await video())?.muted === false);
  await page.click("[data-testid=sound]");
  await until("silence", async () => (await video())?.muted === true);
  await page.context().close();
});
