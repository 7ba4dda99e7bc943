/** Sessions outlive their viewers and the web-server, and pages say what has become of a session. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser } from "playwright-core";
import { advancing, forgetFrames, frames, launch, openPage, watch } from "./support/browser.js";
import { Desktop } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { awake, Stalls } from "./support/stalls.js";
import { until } from "./support/wait.js";

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch());
});

test("a session runs on when all pages have closed, and is joined again", async () => {
  const file = join(server.dir, "ticks");
  const loop = `while :; do echo tick >> ${file}; sleep 0.1; done`;
  const command = `exec xterm -e sh -c '${loop}'`;
  await server.create("alone", { type: "desktop", width: 640, height: 360, audio: false, command });
  const ticks = (): number => (existsSync(file) ? readFileSync(file, "utf8").split("\n").length : 0);
  const pages = [await watch(browser, server.url, "alone"), await watch(browser, server.url, "alone")];
  const process = await server.pid("alone");
  await Promise.all(pages.map((page) => page.context().close()));
  await until("nobody watches", async () => (await server.peers("alone")).length === 0);
  const left = ticks();
  await until("the program runs on", () => ticks() > left + 10);
  assert.equal((await server.streamer("alone")).state, "running");

  const page = await watch(browser, server.url, "alone");
  const firstFrameMs = await until("the first frame is timed", () =>
    page.evaluate(async () => (await window.oriel?.stats())?.firstFrameMs),
  );
  assert.ok(firstFrameMs > 0 && firstFrameMs < 45_000, `first frame: ${String(firstFrameMs)} ms`);
  assert.ok(process !== undefined);
  assert.equal(await server.pid("alone"), process, "still the same process");
  await page.context().close();
  await server.delete("alone");
});

test("a page watches and types on while the web-server is killed and started again", async () => {
  const desktop = await Desktop.moving(server, "moving");
  const page = await watch(browser, server.url, "moving");
  const port = new URL(server.url).port;
  const peer = (await server.peers("moving"))[0]?.id;
  assert.ok(peer !== undefined);
  const state = (): Promise<string | undefined> => page.evaluate(() => window.oriel?.client.state.kind);
  await until("connected", async () => (await state()) === "connected");

  const now = (): Promise<number> => page.evaluate(() => performance.timeOrigin + performance.now());
  const stalls = await Stalls.watch(page);
  await forgetFrames(page);
  await server.kill();
  const killed = await now();
  await until("the page notices", async () => (await state()) === "reconnecting");
  await desktop.fence(page, "1");
  const presented = async (): Promise<number> => (await frames(page)).length;
  await until("pictures without a web-server", async () => (await presented()) > 40);
  await server.run(port);
  await until("the page is back", async () => (await state()) === "connected");
  const back = await now();
  await desktop.fence(page, "2");
  assert.deepEqual((await server.peers("moving")).map(({ id }) => id), [peer], "the same peer");
  const before = await presented();
  await until("pictures after it", async () => (await presented()) > before + 20);
  // By the page's own clock, and only while the server was away. What stands still with all the machine says nothing of the picture.
  const stood = await stalls.all();
  stalls.end();
  const origin = await page.evaluate(() => performance.timeOrigin);
  const between = (await frames(page)).map(({ at }) => at + origin).filter((at) => at > killed && at < back);
  const times = [killed, ...between, back];
  const gaps = times.slice(1).map((to, i) => awake({ from: times[i] ?? to, to }, stood));
  const [longest, away] = [Math.max(...gaps), awake({ from: killed, to: back }, stood)];
  assert.ok(longest < away / 2, `the picture stood still for ${longest.toFixed(0)} of ${away.toFixed(0)} ms without a server`);
  const connections = await page.evaluate(() => window.probe.connections.length);
  assert.equal(connections, 1, "one connection all the time");
  await page.context().close();
  await server.delete("moving");
});

test("the page of a session that is killed says so, and is back by itself with the new one", async () => {
  await server.create("killed", { type: "test", width: 320, height: 180, fps: 30 });
  const page = await watch(browser, server.url, "killed");
  const killed = await server.pid("killed");
  const notices: string[] = [];
  await page.exposeFunction("noticed", (text: string) => notices.push(text));
  await page.evaluate(() => {
    const noticed = (window as unknown as { noticed: (text: string) => void }).noticed;
    new MutationObserver(() => {
      for (const overlay of document.querySelectorAll("[data-testid=overlay]")) noticed(String(overlay.textContent));
    }).observe(document, { childList: true, subtree: true, characterData: true });
  });
  await forgetFrames(page);
  process.kill(killed, "SIGKILL");
  await until("another process runs", async () => {
    const now = await server.streamer("killed");
    return now.state === "running" && now.stats !== null && now.stats.process.pid !== killed;
  });
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await advancing(page, 5);
  assert.ok(notices.some((text) => text.includes("started again") && text.includes("SIGKILL")), notices.join("\n"));
  await page.context().close();
  await server.delete("killed");
});

test("a page of no session says so", async () => {
  const page = await openPage(browser, new URL("s/nothing", server.url).href);
  await page.waitForSelector("[data-testid=ended][data-reason=not-found]");
  await page.context().close();
});

test("the page of a session that is deleted says so", async () => {
  await server.create("short", { type: "test", width: 320, height: 180 });
  const page = await watch(browser, server.url, "short");
  await server.delete("short");
  const notice = await page.waitForSelector("[data-testid=ended]", { timeout: 45_000 });
  assert.equal(await notice.getAttribute("data-reason"), "stopped");
  assert.match(await notice.innerText(), /The session has ended/);
  await page.context().close();
});

test("the page of a session whose command fails shows why", async () => {
  const command = "sleep 0.1; echo no such luck >&2; exit 3";
  await server.json("POST", "api/streamers", {
    id: "broken",
    source: { type: "desktop", width: 320, height: 180, audio: false, command },
    restart: { policy: "never" },
  });
  const page = await openPage(browser, new URL("s/broken", server.url).href);
  const notice = await page.waitForSelector("[data-testid=ended][data-reason=failed]", { timeout: 45_000 });
  const text = await notice.innerText();
  assert.match(text, /exit code 3/);
  assert.match(text, /no such luck/);
  await page.context().close();
  await server.delete("broken");
});

test("the list creates, shows and deletes a session", async () => {
  const page = await openPage(browser, server.url);
  await page.click("[data-testid=create]");
  await page.getByText("Test picture").click();
  await page.fill("[data-testid=field-id]", "not allowed!");
  await page.click("[data-testid=submit]");
  await page.waitForSelector("[data-testid=field-id][aria-invalid=true]");
  await page.fill("[data-testid=field-id]", "listed");
  await page.fill("[data-testid=field-width]", "640");
  await page.fill("[data-testid=field-height]", "360");
  await page.click("[data-testid=submit]");
  const card = page.locator("[data-testid=streamer-listed]");
  await page.waitForSelector("[data-testid=streamer-listed][data-state=running]", { timeout: 45_000 });
  const width = (): Promise<number> =>
    card.locator("[data-testid=thumbnail] img").evaluate((img) => (img as HTMLImageElement).naturalWidth);
  await until("the thumbnail", async () => (await width()) > 0);
  assert.equal(await width(), 480);

  await card.locator("a.card-picture").click();
  await page.waitForSelector("[data-testid=viewer][data-live=true]");
  await advancing(page, 5);
  await page.goBack();
  await card.locator("[data-testid=delete]").click();
  await page.click("[data-testid=confirm]");
  await card.waitFor({ state: "detached" });
  await until("it is gone", async () => (await server.request("GET", "api/streamers/listed")).status === 404);
  await page.context().close();
});
