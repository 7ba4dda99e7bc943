/** The pages as people meet them: on a phone, as a guest, where something has failed or is not there. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { arranged, rowsOf, smallTargets } from "./support/layout.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SECRET = "a-secret-of-enough-length";
const PHONE = { width: 390, height: 844 };
const LONG = "a-session-with-quite-a-long-name-0123456789";
const TEST = { type: "test", width: 320, height: 180, fps: 10 };

let server: Server;
let guarded: Server;
let browser: Browser;

before(async () => {
  server = await Server.start(`streams:
  door: {type: test, width: 320, height: 180, fps: 10}
  door-90p: {type: ffmpeg, input: door, height: 90}
  yard: {type: test, width: 320, height: 180, fps: 10}
`);
  await server.create(LONG, { type: "desktop", width: 640, height: 360, audio: false });
  guarded = await Server.start(`auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\n`);
  guarded.token = SECRET;
  await guarded.create("shown", TEST);
  ({ browser } = await launch());
});

/** A page on a phone held upright; it fails with the first error that a script of it throws. */
async function onPhone(path: string): Promise<Page> {
  const context = await browser.newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(new URL(path, server.url).href);
  return page;
}

async function fits(page: Page): Promise<void> {
  assert.equal(await page.evaluate(() => innerWidth), PHONE.width, "the page is laid out for the phone");
  assert.deepEqual(await arranged(page), []);
}

async function viewer(): Promise<Page> {
  const page = await onPhone(`s/${LONG}`);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await page.focus("[data-testid=tool-stats]");
  await page.waitForSelector(".toolbar-area.awake");
  return page;
}

test("list, create dialog, grid, hosts and rooms fit a phone", async () => {
  const page = await onPhone("");
  await page.waitForSelector(`[data-testid=streamers] >> text=${LONG}`);
  await fits(page);
  await page.click("[data-testid=create]");
  const dialog = page.locator("[data-testid=create-dialog]");
  await dialog.waitFor();
  await fits(page);
  for (const kind of ["rtsp", "ffmpeg", "test", "desktop"]) {
    // The field itself is invisible: what is touched is its label.
    await dialog.locator(`label:has(input[value=${kind}])`).click();
    await fits(page);
  }
  const fields = await Promise.all(
    ["width", "height", "fps"].map(async (name) => (await page.locator(`[data-testid=field-${name}]`).boundingBox())?.y),
  );
  assert.ok(fields.every((y) => y !== undefined && y === fields[0]), `fields in one line: ${fields.join()}`);
  await page.context().close();
  for (const path of ["grid", "hosts", "rooms"]) {
    const other = await onPhone(path);
    await other.waitForSelector("[data-testid^=tile-], [data-testid=no-hosts], [data-testid=no-rooms]");
    await fits(other);
    await other.context().close();
  }
});

test("the viewer fits a phone, with its toolbar in one row of targets for fingers and what it opens below it", async () => {
  const page = await viewer();
  await fits(page);
  assert.equal(await rowsOf(page, ".toolbar"), 1);
  assert.deepEqual(await smallTargets(page, ".toolbar", 44), []);
  const bottom = async (selector: string): Promise<number> => {
    const box = await page.locator(selector).boundingBox();
    return (box?.y ?? 0) + (box?.height ?? 0);
  };
  await page.click("[data-testid=tool-stats]");
  const stats = await page.locator(".stats").boundingBox();
  assert.ok((stats?.y ?? 0) >= (await bottom(".toolbar")), "the statistics are below the toolbar");
  await fits(page);
  await page.click("[data-testid=tool-share]");
  await page.waitForSelector(".share-panel");
  await fits(page);
  await page.context().close();
});

test("the grid shows cameras, and no renditions of them", async () => {
  const page = await openPage(browser, new URL("grid", server.url).href);
  await page.waitForSelector("[data-testid=tile-1]");
  const streams = await page
    .locator("[data-testid^=tile-]")
    .evaluateAll((tiles) => tiles.map((tile) => (tile as HTMLElement).dataset["stream"]));
  assert.deepEqual(streams.sort(), ["door", "yard"]);
  await page.context().close();
});

test("sound is offered beside the picture, and in the toolbar where there is no room", async () => {
  await server.create("sounding", { type: "desktop", width: 640, height: 360, command: "sleep 1000" });
  const context = await browser.newContext({ viewport: { width: PHONE.height, height: PHONE.width } });
  const page = await context.newPage();
  await page.goto(new URL("s/sounding", server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  const offer = page.locator("[data-testid=sound-offer]");
  const box = await offer.boundingBox();
  const picture = (PHONE.width * 640) / 360;
  const right = (PHONE.height + picture) / 2;
  assert.ok(box !== null && box.x >= right, `${JSON.stringify(box)} is right of the picture, which ends at ${String(right)}`);
  assert.ok(box.x + box.width <= PHONE.height && box.y + box.height <= PHONE.width, "it is on the page");

  await page.hover("[data-testid=toolbar-handle]");
  await page.click("[data-testid=tool-fit]");
  await offer.waitFor({ state: "detached" });
  const tool = page.locator("[data-testid=tool-sound]");
  await until("it says so", async () => (await tool.innerText()) === "Click for sound");
  await page.hover("[data-testid=toolbar-handle]");
  const bar = await page.locator(".toolbar").boundingBox();
  assert.ok(bar !== null && bar.x >= 0 && bar.x + bar.width <= PHONE.height, "the toolbar fits");
  await tool.click();
  await until("it is heard", () =>
    page.evaluate(() => document.querySelector<HTMLVideoElement>("[data-testid=video]")?.muted === false),
  );
  await until("no words beside it", async () => (await tool.innerText()) === "");
  await context.close();
  await server.delete("sounding");
});

test("a session that has failed says why, and starts again when asked", async () => {
  const flag = join(server.dir, "works");
  const command = `test -e ${flag} && exec sleep 1000; echo it is broken >&2; exit 3`;
  const source = { type: "desktop", width: 320, height: 180, audio: false, command };
  await server.json("POST", "api/streamers", { id: "failed", source, restart: { policy: "never" } });
  await until("it has failed", async () => (await server.streamer("failed")).state === "failed");
  const page = await openPage(browser, new URL("s/failed", server.url).href);
  const overlay = page.locator("[data-testid=ended][data-reason=failed]");
  await overlay.waitFor({ timeout: 45_000 });
  assert.match(await overlay.innerText(), /The session has failed[^]*it is broken/);
  await page.click("[data-testid=show-log]");
  await until("the log is shown", async () => /it is broken/.test(await page.innerText("[data-testid=log]")));
  const phone = await onPhone("s/failed");
  await phone.click("[data-testid=show-log]", { timeout: 45_000 });
  await phone.waitForSelector("[data-testid=log]");
  await fits(phone);
  await phone.context().close();
  writeFileSync(flag, "");
  await page.click("[data-testid=restart]");
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await overlay.waitFor({ state: "detached" });
  await page.context().close();
});

test("what is not there is a page for people and a problem for programs", async () => {
  const page = await openPage(browser, new URL("nosuch", server.url).href);
  assert.match(await page.innerText("main"), /There is no such page/);
  assert.equal(await page.title(), "There is no such page – Oriel");
  await page.click("text=All sessions");
  await page.waitForSelector("[data-testid=streamers]");
  await page.context().close();
  const response = await server.request("GET", "nosuch");
  assert.equal(response.status, 404);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal(((await response.json()) as { code: string }).code, "route_not_found");
});

test("pages and scripts come compressed, and the API does not", async () => {
  const codings = new Map<string, string | null>();
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("response", (response) => {
    codings.set(new URL(response.url()).pathname.replace(/-[\w-]{8}\./, "."), response.headers()["content-encoding"] ?? null);
  });
  await page.goto(server.url);
  await page.waitForSelector(`[data-testid=streamers] >> text=${LONG}`);
  assert.notEqual(codings.get("/"), null);
  assert.notEqual(codings.get("/assets/mount.js"), null);
  assert.equal(codings.get("/api/streamers"), null);
  await context.close();
});

test("a guest who looks for all sessions is told what the token is for, and is led back", async () => {
  const { token } = await guarded.json<{ token: string }>("POST", "api/streamers/shown/tokens", { role: "viewer" });
  for (const path of ["", "hosts"]) {
    const page = await openPage(browser, new URL(`${path}#token=${token}`, guarded.url).href);
    assert.match(await page.innerText("[data-testid=locked]"), /opens “shown”\. Only administrators see/);
    assert.ok(!(await page.locator("[data-testid=token]").isVisible()), "no form for the admin secret");
    await page.click("[data-testid=to-session]");
    await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
    assert.equal(await page.locator("[data-testid=toolbar] >> text=All sessions").count(), 0);
    await page.context().close();
  }
});

test("every page asks a stranger for what it needs, and takes it", async () => {
  for (const [path, shown] of [
    ["", "streamers"],
    ["hosts", "no-hosts"],
    ["s/shown", "video"],
  ] as const) {
    const page = await openPage(browser, new URL(path, guarded.url).href);
    await page.fill("[data-testid=token]", SECRET);
    await page.click("button[type=submit]");
    await page.waitForSelector(`[data-testid=${shown}]`);
    await page.waitForSelector("[data-testid=token]", { state: "detached" });
    await page.context().close();
  }
});

test("Fit takes the whole stage and gives the size back, when asked and when the viewer leaves", async () => {
  await server.create("fitted", { type: "desktop", width: 640, height: 360, audio: false });
  const size = async (): Promise<string> => {
    const { slots } = await server.json<{ slots: { width: number; height: number }[] }>("GET", "api/streamers/fitted");
    return `${String(slots[0]?.width)}x${String(slots[0]?.height)}`;
  };
  const fit = async (): Promise<Page> => {
    const page = await openPage(browser, new URL("s/fitted", server.url).href);
    await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
    await page.focus("[data-testid=tool-fit]");
    await page.click("[data-testid=tool-fit]");
    await until("the size of the page", async () => (await size()) === "800x500");
    return page;
  };
  const first = await fit();
  await first.click("[data-testid=tool-fit]");
  await until("the size before", async () => (await size()) === "640x360");
  await first.context().close();

  const leaving = await fit();
  await until("the page knows it", () => leaving.evaluate(() => window.oriel?.client.slots.get(0)?.info?.width === 800));
  await leaving.goto("about:blank");
  await until("the size before, without its viewer", async () => (await size()) === "640x360");
  await leaving.context().close();

  const overruled = await fit();
  await server.json("POST", "api/streamers/fitted/resize", { width: 320, height: 240 });
  await until("the page knows it", () => overruled.evaluate(() => window.oriel?.client.slots.get(0)?.info?.width === 320));
  await overruled.goto("about:blank");
  // A request of the page's would have been served before this one.
  await until("the viewer is gone", async () => (await server.peers("fitted")).length === 0);
  assert.equal(await size(), "320x240", "what somebody else wanted stays");
  await overruled.context().close();
});
