/** A Moonlight host in two pages: paired and started by hand, watched and steered by both. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { advancing, launch, openPage, watch } from "./support/browser.js";
import { FakeHost } from "./support/host.js";
import { installPad, type Standing } from "./support/pad.js";
import { Server } from "./support/server.js";
import { steadily } from "./support/stalls.js";
import { until } from "./support/wait.js";

let server: Server;
let browser: Browser;
let host: FakeHost;
/** Name of the streamer that the first page has started. */
let id: string;
let a: Page;
let b: Page;

/** How many keyframes the host, and the session, had been asked for once both pages showed it. */
let asked: Asked;
/** A host is asked for one of so many pictures at most, besides. */
const SELDOM = 60;

type Asked = { host: number; session: number; pictures: number };

async function keyframes(): Promise<Asked> {
  const { stats } = await server.report(id);
  const { counters } = await host.state();
  return { host: counters.keyframe_requests, session: stats.video.keyframes_asked, pictures: counters.frames };
}

/** What `Key A` is for Windows, and so for the host. */
const VK_A = 0x41;

before(async () => {
  server = await Server.start();
  // Two pages decode as well, on a machine that may be busy.
  host = await FakeHost.start({ max_fps: 12, noise: 0.02 });
  ({ browser } = await launch());
});

test("a host is added, and a wrong PIN is explained", async () => {
  a = await openPage(browser, new URL("hosts", server.url).href);
  await a.addInitScript(installPad);
  await a.fill("[data-testid=host-address]", `127.0.0.1:${String(host.port)}`);
  await a.click("[data-testid=add-host]");
  await a.waitForSelector("[data-testid=host-state]:has-text('not paired')");
  await a.click("[data-testid=pair]");
  const pin = await shownPin(a);
  await host.type(pin === "0000" ? "1111" : "0000");
  await a.waitForSelector("[data-testid=pair-step][data-step=failed]", { timeout: 45_000 });
  assert.equal((await host.state()).paired_clients, 0);
});

test("it is paired with the PIN that the page shows, and its apps have pictures", async () => {
  await a.click("[data-testid=pair-again]");
  await host.type(await shownPin(a));
  await a.waitForSelector("[data-testid=pair-step][data-step=paired]", { timeout: 45_000 });
  await a.click("[data-testid=pair-close]");
  await a.waitForSelector("[data-testid=app-1]");
  assert.equal((await host.state()).paired_clients, 1);
  await until("the picture of the first app", () =>
    a.evaluate(() => (document.querySelector<HTMLImageElement>("[data-testid=app-1] img")?.naturalWidth ?? 0) > 0),
  );
});

test("an app is started by a click: the page tells how far it is, and two pages present it", async () => {
  await host.change({ mute_video: true });
  await a.click("[data-testid=app-1]");
  await a.waitForURL(/\/s\/[^/]+$/, { timeout: 45_000 });
  await a.waitForSelector("[data-testid=host][data-stage=waiting]:has-text('first picture')", { timeout: 45_000 });
  await host.change({ mute_video: false });
  id = decodeURIComponent(new URL(a.url()).pathname.split("/").at(-1) ?? "");
  await a.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  b = await openPage(browser, new URL("hosts", server.url).href);
  await b.addInitScript(installPad);
  await b.goto(new URL(`s/${id}`, server.url).href);
  await b.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  const seen = await Promise.all([a, b].map((page) => advancing(page, 20)));
  const [first, second] = seen.map((codes) => ({ first: codes[0] ?? 0, last: codes.at(-1) ?? 0 }));
  assert.ok(first !== undefined && second !== undefined);
  assert.ok(first.first <= second.last && second.first <= first.last, "the same pictures");
  const { session } = await host.state();
  assert.equal(session?.width, 1280);
  asked = await keyframes();
});

test("keys held in two pages are pressed once and released with the last of them", async () => {
  const presses = async (): Promise<unknown[]> =>
    (await host.inputs("key")).filter(({ vk }) => vk === VK_A).map(({ down }) => down);
  const fence = async (page: Page, key: string, vk: number): Promise<void> => {
    const releases = async (): Promise<number> =>
      (await host.inputs("key")).filter((input) => input["vk"] === vk && input["down"] === false).length;
    const before = await releases();
    await page.keyboard.press(key);
    await until(`the key ${key}`, async () => (await releases()) > before);
  };
  for (const page of [a, b]) await page.click("[data-testid=surface]", { position: { x: 300, y: 200 } });
  await steadily(
    [a, b],
    async () => {
      const before = (await presses()).length;
      const since = async (): Promise<unknown[]> => (await presses()).slice(before);
      await a.keyboard.down("a");
      await until("the key", async () => (await since())[0] === true);
      await b.keyboard.down("a");
      await fence(b, "1", 0x31);
      await a.keyboard.up("a");
      await fence(a, "2", 0x32);
      assert.deepEqual(await since(), [true], "still held by the other page");
      await b.keyboard.up("a");
      await until("it is released", async () => (await since()).length >= 2);
      assert.deepEqual(await since(), [true, false]);
    },
    async () => {
      for (const page of [a, b]) await page.keyboard.up("a");
      await fence(a, "3", 0x33);
      await fence(b, "4", 0x34);
    },
  );
});

test("pointer, buttons and wheel arrive", async () => {
  const box = await a.locator("[data-testid=surface]").boundingBox();
  assert.ok(box !== null);
  await a.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const at = await host.gets("the position", ({ kind, x, width }) => {
    return kind === "position" && Math.abs(Number(x) / Number(width) - 0.5) < 0.02;
  });
  assert.ok(Math.abs(Number(at["y"]) / Number(at["height"]) - 0.5) < 0.02, JSON.stringify(at));
  await a.mouse.down({ button: "right" });
  await host.gets("the press", ({ kind, button, down }) => kind === "button" && button === 3 && down === true);
  await a.mouse.up({ button: "right" });
  await host.gets("the release", ({ kind, button, down }) => kind === "button" && button === 3 && down === false);
  await a.mouse.wheel(0, 120);
  await host.gets("the wheel", ({ kind, amount }) => kind === "wheel" && Number(amount) < 0);
});

test("each page has its gamepad, and shakes by itself", async () => {
  await a.bringToFront();
  await stand(a, { buttons: { 0: 1, 7: 0.5 }, axes: [0, 1, 0, 0] });
  const ofA = await host.gets("the pad of the first page", ({ kind, buttons }) => kind === "pad" && buttons === 0x1000);
  const settled = await host.gets("its stick", ({ kind, number, ly }) => {
    return kind === "pad" && number === ofA["number"] && Number(ly) < -32_000;
  });
  assert.ok(Math.abs(Number(settled["rt"]) - 128) <= 2, JSON.stringify(settled));
  await b.bringToFront();
  await stand(b, { buttons: { 1: 1 }, axes: [0, 0, 0, 0] });
  const ofB = await host.gets("the pad of the second page", ({ kind, buttons }) => kind === "pad" && buttons === 0x2000);
  assert.notEqual(ofA["number"], ofB["number"]);
  await host.act({ action: "rumble", pad: ofB["number"], low: 65535, high: 0 });
  const shaken = await until("the second page shakes", () => b.evaluate(() => window.fakePad.shaken[0]));
  assert.ok(shaken.strong > 0.99 && shaken.weak === 0, JSON.stringify(shaken));
  assert.equal(await a.evaluate(() => window.fakePad.shaken.length), 0);
});

test("a gamepad comes to rest when its page loses control, and steers no more", async () => {
  const control = `/api/streamers/${id}/control`;
  const padsOfB = async (): Promise<unknown[]> => {
    const pads = (await host.inputs("pad")).filter(({ number, mask }) => number === 1 && (Number(mask) & 2) !== 0);
    return pads.map(({ buttons }) => buttons);
  };
  await stand(b, { buttons: { 2: 1 }, axes: [0, 0, 0, 0] });
  await until("the second page steers", async () => (await padsOfB()).at(-1) === 0x4000);
  const holder = await a.evaluate(() => window.oriel?.client.peerId);
  await server.json("PUT", control, { mode: "exclusive", holder });
  await until("its gamepad is at rest", async () => (await padsOfB()).at(-1) === 0);
  const before = (await padsOfB()).length;
  await b.waitForSelector("[data-testid=control][data-held=false]");
  await stand(b, { buttons: { 3: 1 }, axes: [1, 1, 0, 0] });
  // Meanwhile the first page's gamepad goes through.
  await a.bringToFront();
  await stand(a, { buttons: { 9: 1 }, axes: [0, 0, 0, 0] });
  await host.gets("the pad in control", ({ kind, number, buttons }) => kind === "pad" && number === 0 && buttons === 0x10);
  await b.bringToFront();
  await b.waitForSelector("[data-testid=control][data-held=false]");
  assert.equal((await padsOfB()).slice(before).filter((buttons) => buttons !== 0).length, 0);
  await server.json("PUT", control, { mode: "shared" });
  await stand(b, { buttons: { 1: 1 }, axes: [0, 0, 0, 0] });
  await until("the second page steers again", async () => (await padsOfB()).at(-1) === 0x2000);
});

test("what a page held is released when it leaves, and its gamepad is unplugged", async () => {
  await b.keyboard.down("z");
  await host.gets("the key", ({ kind, vk, down }) => kind === "key" && vk === 0x5a && down === true);
  await b.context().close();
  await host.gets("its release", ({ kind, vk, down }) => kind === "key" && vk === 0x5a && down === false);
  await host.gets("the pad is gone", ({ kind, mask, number }) => {
    return kind === "pad" && number === 1 && (Number(mask) & 2) === 0;
  });
  await a.bringToFront();
  await advancing(a, 10);
});

test("the host was asked for few keyframes, and has nothing to complain of", async () => {
  const now = await keyframes();
  // Once something is shown, hardly any: what pages ask for, as a busy machine loses something on the way to them, and what is lost on the way
  // from the host.
  const most = 4 + (now.session - asked.session) + (now.pictures - asked.pictures) / SELDOM;
  assert.ok(now.host - asked.host <= most, `${JSON.stringify(now)}, of which ${JSON.stringify(asked)} before`);
  assert.deepEqual((await host.state()).complaints, []);
});

test("a poor connection to the host is told, and that it is good again", async () => {
  await a.bringToFront();
  await host.change({ video: { loss: 0.5 }, fec_percent: 1 });
  const poor = "[data-testid=host][data-quality=poor]:has-text('The connection to the host is poor')";
  await a.waitForSelector(poor, { timeout: 45_000 });
  const { sources } = await server.json<{ sources: { host?: { quality: string } }[] }>(
    "GET",
    `/api/streamers/${id}/sources`,
  );
  assert.equal(sources[0]?.host?.quality, "poor");
  await host.change({ video: {}, fec_percent: 20 });
  await a.waitForSelector("[data-testid=host][data-quality=ok]", { state: "attached", timeout: 45_000 });
  await a.waitForSelector(poor, { state: "detached", timeout: 45_000 });
  await advancing(a, 5);
});

test("a host that breaks off is explained with its code, and come back to", async () => {
  await host.change({ http: { launch: { status: { code: 500, message: "not now" } } } });
  await host.act({ action: "terminate", code: 0x800e9403 });
  const lost = await a.waitForSelector("[data-testid=host][data-stage=lost]:has-text('host_refused')", {
    timeout: 45_000,
  });
  assert.match((await lost.textContent()) ?? "", /not now.*host_refused, 0x800e9403/);
  await host.change({ http: {} });
  await a.waitForSelector("[data-testid=host][data-stage=streaming]", { state: "attached", timeout: 40_000 });
  await advancing(a, 5, 40_000);
});

test("a stream goes on with nobody watching, and a host that restarts is come back to", async () => {
  await a.context().close();
  await until("nobody watches", async () => (await server.peers(id)).length === 0);
  const { frames } = (await host.state()).counters;
  await until("more frames are sent", async () => (await host.state()).counters.frames > frames + 10);
  a = await watch(browser, server.url, id);
  await advancing(a, 5);
  const { sessions } = (await host.state()).counters;
  await host.act({ action: "restart", down_ms: 500 });
  await until("a new session", async () => (await host.state()).counters.sessions > sessions, 40_000);
  await advancing(a, 10, 40_000);
  await host.act({ action: "terminate", code: 0x80030023 });
  await a.waitForSelector("[data-testid=ended]:has-text('0x80030023')", { timeout: 45_000 });
  await a.context().close();
  await server.delete(id);
  await until("the session has ended", async () => (await host.state()).session === null);
});

async function shownPin(page: Page): Promise<string> {
  await page.waitForSelector("[data-testid=pair-step][data-step=waiting]", { timeout: 45_000 });
  const pin = await page.textContent("[data-testid=pin]");
  assert.match(pin ?? "", /^\d{4}$/);
  return pin ?? "";
}

async function stand(page: Page, standing: Standing): Promise<void> {
  await page.evaluate((standing) => {
    window.fakePad.stand(standing);
  }, standing);
}
