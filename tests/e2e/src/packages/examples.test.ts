/** The examples, made of the packages as they would be published, on another origin than the server. Run by `scripts/ts-sdk`. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { cleanUp } from "../support/cleanup.js";
import { fileWith, Server } from "../support/server.js";
import { until } from "../support/wait.js";

/** Where `scripts/ts-sdk` has built the examples. */
const PAGES = process.env["ORIEL_PAGES"] ?? "";
const SECRET = "0123456789abcdef0123456789abcdef";
const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

let server: Server;
let browser: Browser;
let origin: string;

before(async () => {
  assert.notEqual(PAGES, "", "ORIEL_PAGES is not set: run scripts/ts-sdk");
  origin = await servePages();
  server = await Server.start(
    `listen_ips: [127.0.0.1]\nauth: {admin_secrets: ["${SECRET}"]}\nhttp: {allowed_origins: ["${origin}"]}\n`,
  );
  server.token = SECRET;
  ({ browser } = await launch());
});

/** Serves the built examples from an origin of their own. */
async function servePages(): Promise<string> {
  const files = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const name = normalize(pathname.endsWith("/") ? `${pathname}index.html` : pathname);
    readFile(join(PAGES, name)).then(
      (content) => response.setHeader("content-type", TYPES[extname(name)] ?? "application/octet-stream").end(content),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((listening) => files.listen(0, "127.0.0.1", listening));
  cleanUp(() => {
    files.closeAllConnections();
    files.close();
  });
  return `http://127.0.0.1:${String((files.address() as AddressInfo).port)}`;
}

function page(example: string, query: Record<string, string>, token = SECRET): Promise<Page> {
  const search = new URLSearchParams({ server: server.url, ...query });
  return openPage(browser, `${origin}/${example}/?${String(search)}#${token}`);
}

/** A desktop whose terminal writes the line that is typed there to a file. */
async function terminal(id: string): Promise<string> {
  const file = join(server.dir, `${id}.txt`);
  const command = `exec xterm -geometry 106x27+0+0 -e sh -c 'read line; echo "$line" > ${file}; exec sleep 1000'`;
  await server.create(id, { type: "desktop", width: 640, height: 360, audio: false, command });
  return file;
}

/** Waits until the video of a page shows a terminal: a bright picture of 640 × 360 with something dark in it. */
async function showsTerminal(page: Page): Promise<void> {
  await page.waitForFunction(
    () => {
      const video = document.querySelector("video");
      if (video?.videoWidth !== 640 || video.videoHeight !== 360) return false;
      const canvas = document.createElement("canvas");
      canvas.width = 640;
      canvas.height = 360;
      const context = canvas.getContext("2d");
      context?.drawImage(video, 0, 0);
      const { data } = context?.getImageData(0, 0, 640, 360) ?? { data: [] };
      let [bright, dark] = [0, 0];
      for (let i = 1; i < data.length; i += 4) {
        const green = data[i] ?? 0;
        if (green > 200) bright += 1;
        if (green < 80) dark += 1;
      }
      return bright > 100_000 && dark > 20;
    },
    undefined,
    { timeout: 45_000 },
  );
}

/** Types a line until the session's program has it: one that has just been started reads no input yet. */
async function typed(page: Page, file: string, words: string): Promise<void> {
  await until(
    "the line in the session",
    async () => {
      await page.keyboard.type(`${words}\n`);
      return fileWith(file, /\n/, 500).catch(() => null);
    },
    45_000,
  );
  assert.match(await fileWith(file, /\n/), new RegExp(words));
}

test("a page of our own, in twenty lines, shows a session and steers it", async () => {
  const source = await readFile(join(PAGES, "../examples/own-page/index.html"), "utf8");
  assert.ok(source.trimEnd().split("\n").length <= 20);
  const file = await terminal("own");
  const own = await page("own-page", { session: "own" });
  await showsTerminal(own);
  await until("it says so", async () => (await own.textContent("#state")) === "connected");
  await own.click("video");
  await typed(own, file, "typed in a page of our own");
  await own.context().close();
});

test("the desktop in React shows a session, steers it, and leaves one connection under StrictMode", async () => {
  const file = await terminal("desk");
  const desk = await page("react-desktop", { session: "desk" });
  await showsTerminal(desk);
  await desk.waitForSelector("[data-testid=desktop][data-state=connected][data-input=open]");
  await until("no words over the picture", async () => (await desk.locator(".oriel-text").count()) === 0);
  // Without a click: nothing else in the page had the keyboard.
  await desk.waitForSelector(".oriel-focused");
  // Without a window manager, X gives keys to the window under the pointer.
  await desk.hover("video");
  await typed(desk, file, "typed at the support desk");
  await until("one peer", async () => (await server.peers("desk")).length === 1);
  const open = await desk.evaluate(
    () => window.probe.connections.filter(({ connectionState }) => connectionState !== "closed").length,
  );
  assert.equal(open, 1);

  await desk.click("textarea[rows]");
  await until("the keyboard is the page's", async () => (await desk.locator(".oriel-focused").count()) === 0);
  await desk.keyboard.type("a note");
  assert.equal(await desk.inputValue("textarea[rows]"), "a note");

  await server.delete("desk");
  await until("the end", async () => /has ended/.test((await desk.textContent("[data-testid=desktop] [role=status]")) ?? ""));
  await desk.context().close();
});

test("the desktop in React says why it is refused", async () => {
  await server.create("closed", { type: "test", width: 320, height: 192, fps: 5 });
  const desk = await page("react-desktop", { session: "closed" }, "wrong");
  await desk.waitForSelector("[data-testid=desktop][data-state=ended]", { timeout: 45_000 });
  assert.notEqual((await desk.textContent("[data-testid=desktop] [role=status]")) ?? "", "");
  assert.equal(await desk.locator("text=Connect again").count(), 1);
  await desk.context().close();
});

test("the camera wall in React shows its cameras over one connection", async () => {
  const widths: Readonly<Record<string, number>> = { door: 320, yard: 336 };
  const sources = Object.fromEntries(
    Object.entries(widths).map(([name, width]) => [name, { type: "test", width, height: 192, fps: 12 }]),
  );
  await server.json("POST", "api/streamers?wait=running", { id: "cameras", share: false, sources });
  const wall = await page("react-camera-wall", { streams: "door,yard" });
  await until("moving pictures of both", () =>
    wall.evaluate(
      (widths) =>
        Object.entries(widths).every(([name, width]) => {
          const video = document.querySelector<HTMLVideoElement>(`[data-stream=${name}] video`);
          return video?.videoWidth === width && video.getVideoPlaybackQuality().totalVideoFrames > 5;
        }),
      widths,
    ),
  );
  const open = await wall.evaluate(
    () => window.probe.connections.filter(({ connectionState }) => connectionState !== "closed").length,
  );
  assert.equal(open, 1);
  await wall.context().close();
});
