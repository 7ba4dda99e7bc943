/** The viewer's panels for one viewer: sound, who is here, and what it may use of the network. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { launch, useTool } from "./support/browser.js";
import { arranged } from "./support/layout.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SECRET = "a-secret-of-enough-length";
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start(`auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\n`);
  server.token = SECRET;
  await server.create("desk", { type: "desktop", width: 640, height: 360, command: "sleep 1000" });
  ({ browser } = await launch());
});

async function tokenFor(role: "viewer" | "controller", displayName: string): Promise<string> {
  const wish = { role, display_name: displayName };
  return (await server.json<{ token: string }>("POST", "api/streamers/desk/tokens", wish)).token;
}

async function open(context: BrowserContext, token = SECRET): Promise<Page> {
  const page = await context.newPage();
  await page.goto(new URL(`s/desk#token=${token}`, server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 20_000 });
  return page;
}

async function live(token?: string, options: BrowserContextOptions = {}): Promise<Page> {
  return open(await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options }), token);
}

test("the volume is set by keyboard, turns the sound on, and is kept by the browser", async () => {
  const page = await live();
  const heard = (): Promise<{ volume: number; muted: boolean }> =>
    page.evaluate(() => {
      const video = document.querySelector<HTMLVideoElement>("[data-testid=video]");
      return { volume: video?.volume ?? -1, muted: video?.muted ?? true };
    });
  assert.deepEqual(await heard(), { volume: 1, muted: true });
  await useTool(page, "view");
  const slider = page.getByRole("slider", { name: "Volume" });
  await slider.focus();
  for (let step = 0; step < 3; step++) await page.keyboard.press("ArrowLeft");
  await until("it is lower, and heard", async () => {
    const { volume, muted } = await heard();
    return Math.abs(volume - 0.85) < 0.001 && !muted;
  });
  assert.equal(await slider.getAttribute("aria-valuetext"), "85%");
  await page.click("[data-testid=view-muted]");
  await until("it is muted", async () => (await heard()).muted);
  const again = await open(page.context());
  await page.close();
  await until("it is what it was", () =>
    again.evaluate(() => Math.abs((document.querySelector<HTMLVideoElement>("[data-testid=video]")?.volume ?? 0) - 0.85) < 0.001),
  );
  await again.context().close();
});

test("a panel says who is here, what they may do and who has control, by keyboard and on a phone", async () => {
  const ann = await live(await tokenFor("controller", "Ann"));
  const bob = await live(await tokenFor("viewer", "Bob"), PHONE);
  await until("both are counted", async () => (await ann.getAttribute("[data-testid=watchers]", "aria-label")) === "2 people");
  // From the session to the toolbar, and along it.
  await ann.keyboard.press("Control+Alt+Shift+T");
  await ann.waitForSelector(".toolbar-area:focus-within");
  await ann.focus("[data-testid=watchers]");
  await ann.keyboard.press("Enter");
  const people = ann.locator("[data-testid=people-panel] [data-testid=person]");
  await people.first().waitFor();
  const told = async (): Promise<string[]> => (await people.allInnerTexts()).map((text) => text.replace(/\s+/g, " ").trim()).sort();
  assert.deepEqual(await told(), ["Ann (you) steers", "Bob watches"]);
  await server.json("PUT", "api/streamers/desk/control", { mode: "exclusive" });
  await ann.click("[data-testid=control-take]");
  await ann.waitForSelector("[data-testid=person][data-name=Ann] [aria-label='Has control']");

  await bob.focus("[data-testid=watchers]");
  await bob.tap("[data-testid=watchers]");
  await bob.waitForSelector("[data-testid=person][data-name=Ann] [aria-label='Has control']");
  assert.deepEqual(await arranged(bob), []);
  const box = await bob.locator("[data-testid=watchers]").boundingBox();
  assert.ok(box !== null && box.width >= 44 && box.height >= 44, JSON.stringify(box));
  await bob.context().close();
  await until("Bob has left", async () => (await told()).length === 1);
  await ann.keyboard.press("Escape");
  await ann.waitForSelector("[data-testid=people-panel]", { state: "detached" });
  await server.json("PUT", "api/streamers/desk/control", { mode: "shared" });
  await ann.context().close();
});

test("less data is sent to who wants that, also after a reload", async () => {
  const page = await live();
  const most = async (): Promise<(number | undefined)[]> => {
    const { peers } = await server.json<{ peers: { max_bitrate_kbps?: number }[] }>("GET", "api/streamers/desk");
    return peers.map(({ max_bitrate_kbps }) => max_bitrate_kbps);
  };
  const limitedTo = (kbps: number | undefined): Promise<unknown> =>
    until(`one peer, limited to ${String(kbps)}`, async () => {
      const all = await most();
      return all.length === 1 && all[0] === kbps;
    });
  await limitedTo(undefined);
  await useTool(page, "view");
  await page.click("[data-testid=view-limit-500]");
  await limitedTo(500);
  await page.waitForSelector("[data-testid=viewer][data-live=true]");
  assert.equal(await page.getAttribute("[data-testid=view-limit-500]", "aria-pressed"), "true");
  await page.reload();
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 20_000 });
  await limitedTo(500);
  await useTool(page, "view");
  await page.click("[data-testid=view-limit-none]");
  await limitedTo(undefined);
  await page.context().close();
});

test("an administrator may invite also when the server was not reached at first", async () => {
  const context = await browser.newContext();
  let missed = 0;
  await context.route("**/api/streamers", (route) => (missed++ === 0 ? route.abort() : route.continue()));
  const page = await open(context);
  await page.waitForSelector("[data-testid=tool-invite]", { state: "attached" });
  assert.ok(missed > 1, "it was asked again");
  await context.close();
});
