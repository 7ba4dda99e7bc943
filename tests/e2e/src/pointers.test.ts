/** Where the others point, on the viewer page. */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launch, useTool } from "./support/browser.js";
import { HEIGHT, movePointer, onPage, WIDTH } from "./support/desktop.js";
import { Server } from "./support/server.js";
import { becomes, until } from "./support/wait.js";

const SECRET = "a-secret-of-enough-length";
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start(`auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\n`);
  server.token = SECRET;
  await server.create("desk", { type: "desktop", width: WIDTH, height: HEIGHT, command: "sleep 1000" });
  ({ browser } = await launch());
});

type Invited = { page: Page; token: string; id: string };

/** A page of somebody of this name, once it shows the picture and has asked who points. */
async function open(displayName: string, role = "controller", options: BrowserContextOptions = {}): Promise<Invited> {
  const wish = { role, display_name: displayName };
  const { token } = await server.json<{ token: string }>("POST", "api/streamers/desk/tokens", wish);
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  await page.goto(new URL(`s/desk#token=${token}`, server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await page.waitForFunction(() => performance.getEntriesByType("resource").some(({ name }) => /\/Pointers-[^/]*\.js$/.test(name)));
  const id = await until("it is welcome", () => page.evaluate(() => window.oriel?.client.peerId));
  return { page, token, id };
}

type Arrow = { name: string; peer: string; x: number; y: number; colour: string; visible: boolean };

/** The arrows over the main view, with where they point on the page. */
function arrows(page: Page): Promise<Arrow[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("[data-testid=surface] [data-testid=pointer-of]")].map((element) => {
      // Its end, not where it is on its way there.
      const [, x, y] = /translate\((-?\d+)px, (-?\d+)px\)/.exec(element.style.transform) ?? [];
      const surface = element.parentElement?.getBoundingClientRect();
      return {
        name: element.textContent,
        peer: element.dataset["peer"] ?? "",
        x: Number(x) + (surface?.left ?? 0),
        y: Number(y) + (surface?.top ?? 0),
        colour: element.style.getPropertyValue("--colour"),
        visible: element.checkVisibility() && !element.classList.contains("fading"),
      };
    }),
  );
}

/** Moves the pointer of a page there again and again until another page shows it; returns the arrow. */
async function shownAt(by: Invited, x: number, y: number, at: Page): Promise<Arrow> {
  return until(`an arrow at ${String(x)}, ${String(y)}`, async () => {
    // What rests is soon shown no more.
    await movePointer(by.page, x + 1, y);
    await movePointer(by.page, x, y);
    const expected = await onPage(at, x, y);
    const found = (await arrows(at)).find(({ peer }) => peer === by.id);
    return found !== undefined && Math.hypot(found.x - expected.x, found.y - expected.y) < 4 && found;
  });
}

test("a page shows where the others point and who they are, and nobody is shown to itself", async () => {
  const ann = await open("Ann");
  const bob = await open("Bob");
  const eve = await open("Eve", "viewer", PHONE);
  const seen = await shownAt(ann, 400, 200, bob.page);
  assert.deepEqual([seen.name, seen.visible], ["Ann", true]);
  const onPhone = await shownAt(ann, 400, 200, eve.page);
  assert.equal(onPhone.colour, seen.colour, "the same colour at everybody");
  assert.deepEqual(await arrows(ann.page), []);

  // It takes no clicks: what is under it is the picture.
  const hit = await bob.page.evaluate(
    ({ x, y }) => document.elementsFromPoint(x + 4, y + 4).some((element) => element.closest("[data-testid=pointer-of]") !== null),
    seen,
  );
  assert.equal(hit, false);

  // Enlarged and 1:1 it stays with its pixel.
  for (const view of ["native", "larger"]) {
    await useTool(bob.page, "view");
    await bob.page.click(`[data-testid=view-${view}]`);
    await bob.page.keyboard.press("Escape");
    await until(`its pixel, ${view}`, async () => {
      await movePointer(ann.page, 321, 181);
      await movePointer(ann.page, 320, 180);
      const [arrow] = await arrows(bob.page);
      const middle = await bob.page.evaluate(() => {
        const { left, top, width, height } = document.querySelector("[data-testid=video]")?.getBoundingClientRect() ?? new DOMRect();
        return { x: left + width / 2, y: top + height / 2 };
      });
      return arrow !== undefined && Math.hypot(arrow.x - middle.x, arrow.y - middle.y) < 6;
    });
  }

  // Programs point as well.
  const program = await until("the pointer of a program", async () => {
    const at = { x: 20 + Math.round(performance.now() % 50), y: 20 };
    await server.request("POST", "api/streamers/desk/input", { events: [{ type: "pointer", at }] });
    return (await arrows(eve.page)).find(({ peer }) => peer === "");
  });
  assert.equal(program.name, "Program");

  await becomes("what rests is shown no more", () => arrows(eve.page), []);
  await shownAt(ann, 100, 100, eve.page);
  await ann.page.context().close();
  await until("who has left points no more", async () => (await arrows(eve.page)).every(({ peer }) => peer !== ann.id));
  await bob.page.context().close();
  await eve.page.context().close();
});

test("who does not want to see where the others point turns it off, also for the next visit", async () => {
  const ann = await open("Ann");
  const bob = await open("Bob");
  await shownAt(ann, 300, 100, bob.page);
  await useTool(bob.page, "view");
  const choice = bob.page.getByRole("button", { name: "Pointers of others" });
  assert.equal(await choice.getAttribute("aria-pressed"), "true");
  await choice.click();
  assert.deepEqual(await arrows(bob.page), []);
  await bob.page.reload();
  await bob.page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  // The other one is told of what this one does not show.
  const cat = await open("Cat");
  await shownAt(ann, 310, 110, cat.page);
  assert.deepEqual(await arrows(bob.page), []);
  await useTool(bob.page, "view");
  await choice.click();
  await shownAt(ann, 320, 120, bob.page);
  for (const { page } of [ann, bob, cat]) await page.context().close();
});

test("each tile shows who points at what it shows", async () => {
  const id = "tiles";
  await server.create(id, { type: "desktop", width: WIDTH, height: HEIGHT, command: "sleep 1000" });
  const other = { type: "test", width: 160, height: 96, fps: 5 };
  await server.json("POST", `api/streamers/${id}/slots`, { source: other });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(new URL(`s/${id}#token=${SECRET}`, server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  const tiles = (): Promise<string[]> =>
    page.evaluate(() => [...document.querySelectorAll<HTMLElement>("[data-testid=pointer-of]")].map((one) => one.closest<HTMLElement>(".tile")?.dataset["slot"] ?? "?"));
  const pointed = (): Promise<string[] | false> =>
    until("a pointer", async () => {
      const at = { x: 20 + Math.round(performance.now() % 50), y: 20 };
      await server.request("POST", `api/streamers/${id}/input`, { events: [{ type: "pointer", at }] });
      const found = await tiles();
      return found.length > 0 && found;
    });
  assert.deepEqual(await pointed(), ["0"]);
  await page.click("[data-testid=thumb-1]");
  await page.waitForSelector("[data-testid=thumb-0]");
  assert.deepEqual(await pointed(), ["0"], "small by now, and still the same");
  await context.close();
});

test("pictures of it, light and dark, large and on a phone", { skip: process.env["ORIEL_SHOTS"] === undefined && "ORIEL_SHOTS names no folder" }, async () => {
  const dir = process.env["ORIEL_SHOTS"] ?? "";
  mkdirSync(dir, { recursive: true });
  const many = await Promise.all(["Ann", "Bartholomew Montgomery-Featherstone", "Chloé"].map((name) => open(name)));
  for (const [name, options] of [["desk", {}], ["phone", PHONE]] as const) {
    const eve = await open("Eve", "viewer", options);
    for (const colorScheme of ["light", "dark"] as const) {
      await eve.page.emulateMedia({ colorScheme });
      await until("all of them", async () => {
        for (const [index, { page }] of many.entries()) {
          await movePointer(page, [60, 615, 300][index] ?? 0, [40, 340, 150][index] ?? 0);
          await movePointer(page, [61, 616, 301][index] ?? 0, [40, 340, 150][index] ?? 0);
        }
        return (await arrows(eve.page)).filter(({ visible, peer }) => visible && peer !== "").length === many.length;
      });
      await eve.page.screenshot({ path: join(dir, `pointers-${name}-${colorScheme}.png`) });
    }
    await eve.page.context().close();
  }
});
