/** Input of several pages, as X gets it. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, watch } from "./support/browser.js";
import { Desktop, movePointer } from "./support/desktop.js";
import { installProbe } from "./support/probe.js";
import { Server } from "./support/server.js";
import { steadily } from "./support/stalls.js";
import { until } from "./support/wait.js";

/** A peer that nothing is heard of keeps its place for longer. */
const GIVEN_UP_MS = 20_000;

let server: Server;
let browser: Browser;
let desktop: Desktop;
let a: Page;
let b: Page;

before(async () => {
  server = await Server.start();
  desktop = await Desktop.create(server, "desk");
  ({ browser } = await launch());
  a = await watch(browser, server.url, "desk", ["clipboard-read", "clipboard-write"]);
  b = await watch(browser, server.url, "desk");
});

test("text typed in one page and then in another arrives", async () => {
  await a.keyboard.type("hello");
  await desktop.reaches("text", () => desktop.text(), "hello");
  await b.keyboard.type("there42");
  await desktop.reaches("text", () => desktop.text(), "hellothere42");
});

test("a key held in two pages is pressed once, and released with the last of them", async () => {
  await steadily(
    [a, b],
    async () => {
      const before = desktop.key("k");
      await a.keyboard.down("k");
      await desktop.fence(a, "1");
      await b.keyboard.down("k");
      await desktop.fence(b, "2");
      assert.equal(desktop.key("k"), `${before}+`);
      await a.keyboard.up("k");
      await desktop.fence(a, "3");
      assert.equal(desktop.key("k"), `${before}+`, "still held by the other page");
      await b.keyboard.up("k");
      await desktop.reaches("the release", () => desktop.key("k"), `${before}+-`);
    },
    () => letGo([a, b], "k"),
  );
});

test("a button held in two pages is pressed once, and released with the last of them", async () => {
  await movePointer(a, 100, 100);
  await movePointer(b, 120, 100);
  await steadily(
    [a, b],
    async () => {
      const before = desktop.button(1);
      await a.mouse.down();
      await desktop.fence(a, "1");
      await b.mouse.down();
      await desktop.fence(b, "2");
      assert.equal(desktop.button(1), `${before}+`);
      await b.mouse.up();
      await desktop.fence(b, "3");
      assert.equal(desktop.button(1), `${before}+`, "still held by the other page");
      await a.mouse.up();
      await desktop.reaches("the release", () => desktop.button(1), `${before}+-`);
    },
    async () => {
      for (const page of [a, b]) {
        await page.mouse.up();
        await desktop.fence(page, "4");
      }
    },
  );
});

test("the keys of a browser that is killed are released soon, those of others are not", async () => {
  await steadily(
    [b],
    async () => {
      const doomed = await launch();
      const page = await watch(doomed.browser, server.url, "desk");
      const [q, w] = [desktop.key("q"), desktop.key("w")];
      await page.keyboard.down("q");
      await desktop.reaches("q", () => desktop.key("q"), `${q}+`);
      await b.keyboard.down("w");
      await desktop.reaches("w", () => desktop.key("w"), `${w}+`);
      doomed.kill();
      // After two seconds of silence, and sooner than a connection is given up.
      await desktop.reaches("the release", () => desktop.key("q"), `${q}+-`, GIVEN_UP_MS);
      await desktop.fence(b, "5");
      assert.equal(desktop.key("w"), `${w}+`, "the other page holds on");
      await b.keyboard.up("w");
      await desktop.reaches("the release by the page", () => desktop.key("w"), `${w}+-`);
    },
    () => letGo([b], "w"),
  );
});

/** Nothing holds a key any more, and the desktop knows. */
async function letGo(pages: readonly Page[], key: string): Promise<void> {
  for (const page of pages) {
    await page.keyboard.up(key);
    await desktop.fence(page, "4");
  }
}

test("garbage on every channel is answered by an error, and nothing else happens", async () => {
  // More than that no browser sends, as the session says in its description of the connection.
  const largest = await a.evaluate(() => window.probe.connections.at(-1)?.sctp?.maxMessageSize ?? 0);
  assert.ok(largest >= 1024 && largest < 300 * 1024, `at most ${String(largest)} bytes are taken`);
  await assert.rejects(send(a, "keys", "x".repeat(300 * 1024)), /max-message-size/);
  const garbage: [string, string][] = [
    ["binary", "\u0000\u0001\u00ff"],
    ["truncated", '{"type":"key","slot":0,"code":'],
    ["unknown type", '{"type":"make-coffee","slot":0}'],
    ["the largest message", "x".repeat(largest)],
  ];
  for (const channel of ["keys", "motion", "general"]) {
    for (const [kind, data] of garbage) {
      const before = (await errors(a)).length;
      await send(a, channel, data, kind === "binary");
      const error = await until(`an error for ${kind} on ${channel}`, async () => (await errors(a))[before]);
      assert.equal(error.channel, channel);
      assert.ok(error.message.length > 0 && error.message.length < 500, "short enough to be shown");
      assert.match(error.code, /^[a-z_]+$/);
    }
  }
  assert.deepEqual(await errors(b), [], "nobody else hears of it");
  await desktop.fence(b, "6");
  await desktop.fence(a, "7");
  const state = (page: Page): Promise<string | undefined> =>
    page.evaluate(() => window.probe.connections.at(-1)?.connectionState);
  assert.deepEqual([await state(a), await state(b)], ["connected", "connected"]);
});

test("a page's clipboard goes to the session with the key that pastes", async () => {
  const text = "from the page: grüße 你好 😀";
  await a.evaluate((text) => navigator.clipboard.writeText(text), text);
  await a.keyboard.press("Control+v");
  await until("the session's clipboard", async () => (await clipboardOf("desk")) === text);
});

test("what a program of the session copies goes to all pages", async () => {
  const script = join(server.dir, "copy.sh");
  const text = "copied in a terminal";
  const base64 = Buffer.from(text).toString("base64");
  // The control sequence by which programs in a terminal copy.
  writeFileSync(script, `read line; printf '\\033]52;c;${base64}\\007'; exec sleep 1000\n`);
  const command = `exec xterm -xrm 'XTerm*allowWindowOps: true' -e sh ${script}`;
  await server.create("copies", { type: "desktop", width: 640, height: 360, audio: false, command });
  const pages = [
    await watch(browser, server.url, "copies", ["clipboard-read", "clipboard-write"]),
    await watch(browser, server.url, "copies"),
  ];
  for (const page of pages) {
    await page.evaluate(() => {
      window.oriel?.client.on("clipboard", ({ text }) => {
        Object.assign(window, { copied: text });
      });
    });
  }
  const [typist] = pages;
  assert.ok(typist !== undefined);
  // Without a window manager the keys go to the window under the pointer.
  await movePointer(typist, 100, 100);
  await typist.keyboard.press("Enter");
  await until("the session's clipboard", async () => (await clipboardOf("copies")) === text);
  for (const [i, page] of pages.entries()) {
    const copied = (): Promise<string | undefined> =>
      page.evaluate(() => (window as unknown as { copied?: string }).copied);
    await until(`page ${String(i)} hears of it`, async () => (await copied()) === text);
  }
  await until("the viewer's own clipboard", async () =>
    (await typist.evaluate(() => navigator.clipboard.readText())) === text,
  );
  await Promise.all(pages.map((page) => page.context().close()));
  await server.delete("copies");
});

test("a picture goes to the session with the key that pastes, and from it to the page", async () => {
  const size = await a.evaluate(async () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 256;
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("no canvas");
    // Noise, so that it takes more than one message.
    const pixels = context.createImageData(256, 256);
    const most = 65_536;
    for (let from = 0; from < pixels.data.length; from += most) {
      crypto.getRandomValues(new Uint8Array(pixels.data.buffer, from, most));
    }
    for (let n = 3; n < pixels.data.length; n += 4) pixels.data[n] = 255;
    context.putImageData(pixels, 0, 0);
    const png = await new Promise<Blob | null>((resolve) => {
      canvas.toBlob(resolve);
    });
    if (png === null) throw new Error("no picture");
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
    return png.size;
  });
  assert.ok(size > 48 * 1024, String(size));
  await a.keyboard.press("Control+v");
  const url = new URL("api/streamers/desk/clipboard?type=image/png", server.url);
  let png = Buffer.alloc(0);
  await until("the session's picture", async () => {
    const response = await fetch(url);
    if (response.ok) png = Buffer.from(await response.arrayBuffer());
    return response.ok;
  });
  // The browser encodes it anew.
  assert.deepEqual([png.subarray(0, 8).toString("latin1"), png.readUInt32BE(16)], ["\x89PNG\r\n\x1a\n", 256]);

  await a.evaluate(() => navigator.clipboard.writeText("something else"));
  const put = new URL("api/streamers/desk/clipboard", server.url);
  const answer = await fetch(put, { method: "PUT", headers: { "content-type": "image/png" }, body: png });
  assert.equal(answer.status, 204);
  await until("the page's own clipboard", () =>
    a.evaluate(async () => {
      const items = await navigator.clipboard.read();
      return items.some((item) => item.types.includes("image/png"));
    }),
  );
});

test("a text put by the API is on the session's clipboard", async () => {
  await server.json("PUT", "api/streamers/desk/clipboard", { text: "by a program: ñ" });
  assert.equal(await clipboardOf("desk"), "by a program: ñ");
});

test("a viewer cannot type, neither by the page nor past it", async () => {
  const id = await a.evaluate(() => window.oriel?.client.peerId);
  await server.json("PATCH", `api/streamers/desk/peers/${String(id)}`, { role: "viewer" });
  await until("the page knows", () => a.evaluate(() => window.oriel?.client.role === "viewer"));
  await a.keyboard.press("u");
  const before = (await errors(a)).length;
  await send(a, "keys", JSON.stringify({ type: "key", slot: 0, code: "KeyU", down: true }));
  await until("it is told", async () => (await errors(a))[before]?.code === "not_a_controller");
  await server.json("PATCH", `api/streamers/desk/peers/${String(id)}`, { role: "controller" });
  await until("the page knows", () => a.evaluate(() => window.oriel?.client.role === "controller"));
  await desktop.fence(a, "8");
  assert.equal(desktop.key("u"), "");
});

async function clipboardOf(id: string): Promise<string> {
  return (await server.json<{ text: string }>("GET", `api/streamers/${id}/clipboard`)).text;
}

test("a page that joins as a viewer watches, and cannot type", async () => {
  const context = await browser.newContext();
  await context.addInitScript(installProbe);
  await context.addInitScript(() => {
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
      const message = JSON.parse(String(data)) as { type: string };
      send.call(this, JSON.stringify(message.type === "hello" ? { ...message, role: "viewer" } : message));
    };
  });
  const page = await context.newPage();
  await page.goto(new URL("s/desk", server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]");
  const id = await page.evaluate(() => window.oriel?.client.peerId);
  assert.equal((await server.peers("desk")).find((peer) => peer.id === id)?.role, "viewer");
  await send(page, "keys", JSON.stringify({ type: "key", slot: 0, code: "KeyY", down: true }));
  await until("it is told", async () => (await errors(page))[0]?.code === "not_a_controller");
  await desktop.fence(b, "9");
  assert.equal(desktop.key("y"), "");
  await context.close();
});

type Problem = { type: string; channel: string; code: string; message: string };

async function errors(page: Page): Promise<Problem[]> {
  const texts = await page.evaluate(() => window.probe.general);
  return texts.map((text) => JSON.parse(text) as Problem).filter(({ type }) => type === "error");
}

/** Sends past the page's own code. */
async function send(page: Page, channel: string, data: string, binary = false): Promise<void> {
  await page.evaluate(
    ({ channel, data, binary }) => {
      const open = window.probe.channels.findLast(({ label }) => label === channel);
      if (open === undefined) throw new Error(`no channel ${channel}`);
      if (binary) open.send(Uint8Array.from(data, (c) => c.charCodeAt(0)));
      else open.send(data);
    },
    { channel, data, binary },
  );
}
