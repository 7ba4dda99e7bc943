/** The viewer's tools: links with QR codes, keys that browsers keep, typing, sizes, a full window; its languages; and how little it loads. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { gzipSync } from "node:zlib";
import jsqr from "jsqr";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launch, openPage, useTool, watch } from "./support/browser.js";
import { Desktop, HEIGHT, WIDTH } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SECRET = "a-secret-of-enough-length";
/** Bytes of compressed script that a viewer loads before its first picture. */
const MOST_SCRIPT = 60_000;

let server: Server;
let browser: Browser;
let desktop: Desktop;

before(async () => {
  server = await Server.start(`auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\n`);
  server.token = SECRET;
  desktop = await Desktop.create(server, "tools");
  ({ browser } = await launch());
});

const URL_PATH = `s/tools#token=${SECRET}`;

async function live(options: BrowserContextOptions = {}, init?: () => void): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  if (init !== undefined) await context.addInitScript(init);
  const page = await context.newPage();
  await page.goto(new URL(URL_PATH, server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  return page;
}

/** What a camera reads in the QR code of a page, which is black on white also where the page is dark. */
async function scanned(page: Page): Promise<string | undefined> {
  const { data, side } = await page.evaluate(async () => {
    const side = 600;
    const svg = document.querySelector<SVGElement>("[data-testid=qr]");
    if (svg === null) throw new Error("no QR code");
    const copy = svg.cloneNode(true) as SVGElement;
    copy.setAttribute("width", String(side));
    copy.setAttribute("height", String(side));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(copy.outerHTML)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("no canvas");
    context.drawImage(image, 0, 0);
    return { data: [...context.getImageData(0, 0, side, side).data], side };
  });
  // A module of CommonJS: what it exports is its default.
  const read = jsqr as unknown as typeof jsqr.default;
  return read(new Uint8ClampedArray(data), side, side)?.data;
}

test("an invitation is a link and a QR code that open the session, until they are revoked", async () => {
  const page = await live({ colorScheme: "dark" });
  await useTool(page, "invite");
  await page.click("[data-testid=invite-dialog] >> text=watch and steer");
  await page.fill("[data-testid=invite-name]", "Ann");
  await page.click("[data-testid=invite-make]");
  const link = await page.inputValue("[data-testid=invite-link]");
  await page.waitForSelector("[data-testid=qr]");
  assert.equal(await scanned(page), link);
  const guest = await openPage(browser, link);
  await guest.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  assert.equal(await guest.evaluate(() => window.oriel?.client.role), "controller");
  await until("Ann is among those who watch", async () => /Ann/.test((await page.getAttribute("[data-testid=watchers]", "title")) ?? ""));
  assert.equal(await guest.locator("[data-testid=tool-invite]").count(), 0, "guests do not invite");
  await page.click("[data-testid=invite-revoke]");
  await guest.waitForSelector("[data-testid=ended][data-reason=refused]");
  await page.waitForSelector("[data-testid=invite-dialog]", { state: "detached" });
  await until("the focus is where it was", () => page.evaluate(() => document.activeElement?.getAttribute("data-testid") === "tool-invite"));
  await Promise.all([guest.context().close(), page.context().close()]);
});

test("keys that the browser keeps, any others together, and texts as typing reach the session", async () => {
  const page = await live();
  await useTool(page, "keys");
  await page.click("[data-testid='send-Ctrl+Alt+Del']");
  await until("Ctrl+Alt+Del", () => desktop.key("Delete") === "+-" && desktop.key("Control_L") === "+-" && desktop.key("Alt_L") === "+-");
  await page.click("[data-testid=keys-panel] >> text=/^Shift$/");
  await page.focus("[data-testid=key-field]");
  await page.keyboard.press("F9");
  await until("the key is shown", async () => (await page.inputValue("[data-testid=key-field]")) === "F9");
  await page.click("[data-testid=send-keys]");
  await until("Shift+F9", () => desktop.key("F9") === "+-" && desktop.key("Shift_L") === "+-");
  await useTool(page, "clipboard");
  await page.fill("[data-testid=clipboard-text]", "zé\nq");
  await page.click("[data-testid=clipboard-type]");
  await until("it is typed", () => ["z", "eacute", "Return", "q"].every((keysym) => desktop.key(keysym) === "+-"));
  await page.context().close();
});

test("the picture is shown pixel by pixel, larger, and fitted again, for this viewer alone", async () => {
  const page = await live();
  const width = (): Promise<number> => page.evaluate(() => document.querySelector("[data-testid=video]")?.getBoundingClientRect().width ?? 0);
  const fitted = await width();
  await useTool(page, "view");
  await page.click("[data-testid=view-native]");
  // The element is as wide as the window, and the picture in it as high as it.
  await until("1:1", async () => Math.abs((await width()) - WIDTH) < 2);
  await until("the zoom is told", async () => /^100/.test(await page.innerText("[data-testid=zoom]")));
  await page.click("[data-testid=view-larger]");
  await until("larger", async () => (await width()) > WIDTH * 1.2);
  await page.click("[data-testid=view-sharp]");
  await until("sharp", () => page.evaluate(() => getComputedStyle(document.querySelector("[data-testid=video]") ?? document.body).imageRendering === "pixelated"));
  await page.click("[data-testid=view-fit]");
  await until("fitted", async () => (await width()) === fitted);
  await page.context().close();
});

test("a screenshot is saved in the size of the session, also where the server gives none", async () => {
  const page = await live();
  for (const how of ["gives", "refuses"]) {
    if (how === "refuses") await page.route("**/snapshot?*", (route) => route.abort());
    const [download] = await Promise.all([page.waitForEvent("download"), useTool(page, "screenshot")]);
    const name = download.suggestedFilename();
    assert.match(name, /^tools-\d{4}-\d\d-\d\d-\d{6}\.png$/);
    const path = join(server.dir, name);
    await download.saveAs(path);
    const png = readFileSync(path);
    assert.deepEqual(png.subarray(0, 8), Buffer.from("\x89PNG\r\n\x1a\n", "latin1"));
    assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [WIDTH, HEIGHT], `the server ${how} it`);
    await until("it is told", async () => (await page.innerText("[data-testid=notice]")).includes(name));
  }
  await page.context().close();
});

test("where the browser cannot fill the screen the picture fills the window", async () => {
  const page = await live({}, () => {
    Object.defineProperty(document, "fullscreenEnabled", { value: undefined });
  });
  const tool = page.locator("[data-testid=tool-fullscreen]");
  assert.equal(await tool.getAttribute("aria-label"), "Fill the window");
  await useTool(page, "fullscreen");
  await page.waitForSelector(".viewer.whole-window");
  const box = await page.locator("[data-testid=main-view]").boundingBox();
  assert.deepEqual(box, { x: 0, y: 0, width: 1280, height: 800 });
  await tool.click();
  await page.waitForSelector(".viewer:not(.whole-window)");
  await page.context().close();
});

test("pages speak the browser's language, that of the address, or the one that was chosen", async () => {
  const context = await browser.newContext({ locale: "de-AT" });
  const page = await context.newPage();
  const speaks = (lang: string): Promise<unknown> =>
    until(`the page is in ${lang}`, () => page.evaluate((lang) => document.documentElement.lang === lang, lang));
  await page.goto(new URL(`?#token=${SECRET}`, server.url).href);
  await page.waitForSelector("text=Neue Sitzung");
  await speaks("de");
  await page.goto(new URL("?lang=fr", server.url).href);
  await page.waitForSelector("text=Nouvelle session");
  await speaks("fr");
  await page.selectOption("[data-testid=language]", "zh");
  await page.waitForSelector("text=新建会话");
  await page.goto(new URL("rooms", server.url).href);
  await page.waitForSelector("text=新建房间");
  await speaks("zh");
  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => /\/common-/.test(name)));
  assert.equal(loaded.length, 1, "one language is loaded");
  await context.close();
});

test("a viewer loads little before its first picture", async () => {
  const page = await watch(browser, server.url, `tools#token=${SECRET}`);
  const scripts = await page.evaluate(() => {
    const first = performance.getEntriesByName("oriel:first-frame")[0]?.startTime ?? Infinity;
    const all = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
    // What decodes media of the WebSocket is loaded where UDP has brought nothing for half a second, as on a busy machine.
    const counts = ({ name, startTime }: PerformanceResourceTiming): boolean =>
      name.endsWith(".js") && !name.includes("/decoding-") && startTime <= first;
    return all.filter(counts).map(({ name }) => name);
  });
  const sizes = await Promise.all(
    scripts.map(async (url) => gzipSync(Buffer.from(await (await fetch(url)).arrayBuffer()), { level: 9 }).length),
  );
  const sum = sizes.reduce((a, b) => a + b, 0);
  console.log(`${String(sum)} bytes of script before the first picture, in ${String(scripts.length)} files`);
  assert.ok(scripts.length > 2 && sum <= MOST_SCRIPT, `${String(sum)} bytes: ${scripts.map((url, at) => `${url} ${String(sizes[at])}`).join(", ")}`);
  await page.context().close();
});
