/** Fingers on a phone's page, as X gets them. */

import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch, live } from "./support/browser.js";
import { Desktop, onPage, type XEvent } from "./support/desktop.js";
import { Fingers, type Place } from "./support/fingers.js";
import { installProbe } from "./support/probe.js";
import { Server } from "./support/server.js";
import { steadily, swiftly } from "./support/stalls.js";
import { period, until } from "./support/wait.js";

const PHONE = { width: 390, height: 844 };

let server: Server;
let browser: Browser;
let desktop: Desktop;
let page: Page;
let fingers: Fingers;
/** How many events X had at the start of the test. */
let start = 0;

before(async () => {
  server = await Server.start();
  desktop = await Desktop.create(server, "desk");
  ({ browser } = await launch());
  ({ page } = await phone());
  fingers = await Fingers.on(page);
});

beforeEach(async () => {
  // What a failed test has left down is none of the next one's.
  await fingers.rest();
  start = desktop.events().length;
});

async function phone(): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  context.setDefaultTimeout(60_000);
  await context.addInitScript(installProbe);
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(new URL("s/desk", server.url).href);
  await live(page);
  return { context, page };
}

function fresh(): XEvent[] {
  return desktop.events().slice(start);
}

/** Presses and releases of buttons since the test began: `1+1-3+3-`. */
function buttons(): string {
  return fresh().flatMap((event) => (event.type === "button" ? [`${String(event.button)}${event.down ? "+" : "-"}`] : [])).join("");
}

function wheel(button: number): number {
  return fresh().filter((event) => event.type === "button" && event.button === button && event.down).length;
}

function presses(): { x: number; y: number }[] {
  return fresh().flatMap((event) => (event.type === "button" && event.down ? [{ x: event.x, y: event.y }] : []));
}

function near(at: Place | undefined, x: number, y: number, most = 2): void {
  assert.ok(at !== undefined && Math.abs(at.x - x) <= most && Math.abs(at.y - y) <= most, `${JSON.stringify(at)} is at ${String(x)}, ${String(y)}`);
}

async function zoom(): Promise<number> {
  return page.evaluate(() => {
    const video = document.querySelector<HTMLVideoElement>("[data-testid=video]");
    return video === null ? 0 : new DOMMatrix(getComputedStyle(video).transform).a;
  });
}

/** Does a gesture that the page takes for one only if it is quick; what an earlier try did is forgotten. */
async function gesture(step: () => Promise<unknown>): Promise<void> {
  await swiftly(page, step, async () => {
    await fingers.rest();
    await until("nothing is pressed", () => !buttons().endsWith("+"));
    await desktop.fence(page, "6");
    start = desktop.events().length;
  });
}

/** A tap, which is none if the finger is lifted late. */
async function tap(at: Place): Promise<void> {
  await gesture(() => fingers.tap(at));
}

/** Moves two fingers apart by a factor around a point. */
async function pinch(at: Place, from: number, to: number): Promise<void> {
  const pair = (apart: number): [Place, Place] => [
    { x: at.x - apart / 2, y: at.y },
    { x: at.x + apart / 2, y: at.y },
  ];
  await fingers.down(...pair(from));
  for (let step = 1; step <= 10; step++) await fingers.move(...pair(from + ((to - from) * step) / 10));
  await fingers.up();
}

test("a tap clicks the pixel under it", async () => {
  await tap(await onPage(page, 200, 100));
  await desktop.reaches("a click", buttons, "1+1-");
  near(presses()[0], 200, 100);
});

test("a long press clicks with the right button, once", async () => {
  await fingers.down(await onPage(page, 300, 150));
  await desktop.reaches("a right click", buttons, "3+3-");
  near(presses()[0], 300, 150);
  await fingers.up();
  await desktop.fence(page, "1");
  assert.equal(buttons(), "3+3-");
});

test("a tap with two fingers clicks with the right button", async () => {
  const at = await onPage(page, 320, 180);
  await gesture(() => Promise.all([fingers.down({ x: at.x - 30, y: at.y }, { x: at.x + 30, y: at.y }), fingers.up()]));
  await desktop.reaches("a right click", buttons, "3+3-");
  near(presses()[0], 320, 180);
});

test("a finger that slides moves the pointer and presses nothing", async () => {
  await fingers.down(await onPage(page, 100, 100));
  for (let x = 150; x <= 400; x += 50) await fingers.move(await onPage(page, x, 200));
  await fingers.up();
  await until("the pointer is there", () => {
    const at = desktop.pointer();
    return at !== undefined && Math.abs(at.x - 400) <= 2 && Math.abs(at.y - 200) <= 2;
  });
  await desktop.fence(page, "2");
  assert.equal(buttons(), "");
});

test("a tap and a touch that moves drag with one press", async () => {
  const from = await onPage(page, 200, 200);
  const to = await onPage(page, 500, 300);
  await gesture(() =>
    Promise.all([
      fingers.tap(from),
      fingers.down(from),
      fingers.move({ x: (from.x + to.x) / 2, y: from.y }),
      fingers.move(to),
    ]),
  );
  await until("the pointer is there", () => {
    const at = desktop.pointer();
    return at !== undefined && Math.abs(at.x - 500) <= 2;
  });
  assert.equal(buttons(), "1+", "the button is held");
  await fingers.up();
  await desktop.reaches("the release", buttons, "1+1-");
  near(presses()[0], 200, 200);
});

test("a drag that loses its finger, or the page its focus, releases the button", async () => {
  const at = await onPage(page, 200, 200);
  const drag = async (): Promise<void> => {
    start = desktop.events().length;
    await gesture(() => Promise.all([fingers.tap(at), fingers.down(at), fingers.move({ x: at.x + 60, y: at.y })]));
    await desktop.reaches("the press", buttons, "1+");
  };
  await drag();
  await fingers.cancel();
  await desktop.reaches("the release", buttons, "1+1-");
  await drag();
  await page.evaluate(() => {
    window.dispatchEvent(new Event("blur"));
  });
  await desktop.reaches("the release", buttons, "1+1-");
  await fingers.up();
});

test("two fingers scroll, and the content goes on when they are lifted in motion", async () => {
  const at = await onPage(page, 320, 180);
  const pair = (y: number): [Place, Place] => [
    { x: at.x - 30, y },
    { x: at.x + 30, y },
  ];
  const begin = pair(at.y + 80);
  const moves = [60, 40, 20, 0, -20, -40, -60, -80].map((y) => pair(at.y + y));
  await fingers.down(...begin);
  for (const places of moves) await fingers.move(...places);
  await desktop.reaches("notches downwards", () => wheel(5) >= 2, true);
  // They rest before they are lifted: nothing goes on.
  await period(300);
  await fingers.up();
  await desktop.fence(page, "7");
  const scrolled = wheel(5);
  await fingers.down(...begin);
  for (const places of moves.slice(0, -2)) await fingers.move(...places);
  // The last are on their way at once with the end of the touch: a busy machine makes no rest of it.
  await Promise.all([...moves.slice(-2).map((places) => fingers.move(...places)), fingers.up()]);
  await desktop.reaches("more than the fingers have moved", () => wheel(5) > 2 * scrolled, true);
  assert.equal(wheel(4), 0);
  assert.doesNotMatch(buttons(), /[123][+-]/);
  // A touch ends the motion, which would go on in the next test.
  await fingers.down(...pair(at.y));
  await desktop.fence(page, "7");
  await fingers.up();
  await desktop.fence(page, "8");
});

test("a pinch enlarges the view, sends nothing, and taps hit their pixel in it", async () => {
  // In the middle of its height: enlarged, the picture is still less high than the phone, and stays in the middle.
  const at = await onPage(page, 400, 180);
  await pinch(at, 60, 180);
  await until("it is enlarged", async () => (await zoom()) > 2);
  await desktop.fence(page, "3");
  assert.deepEqual(fresh().filter(({ type }) => type !== "key"), [], "nothing of it went to the session");
  // The pixel under the fingers stays where it was, whatever the scale.
  await tap(at);
  await desktop.reaches("a click", buttons, "1+1-");
  near(presses()[0], 400, 180);

  const scale = await zoom();
  // Away from the click before, so that the finger does not take it up again.
  await fingers.down({ x: at.x, y: at.y + 60 });
  for (let dx = 10; dx <= 60; dx += 10) await fingers.move({ x: at.x + dx, y: at.y + 60 });
  await fingers.up();
  await desktop.fence(page, "4");
  start = desktop.events().length;
  await tap(at);
  await desktop.reaches("a click", buttons, "1+1-");
  const perPixel = (PHONE.width / 640) * scale;
  near(presses()[0], 400 - 60 / perPixel, 180, 4);
  assert.equal(await zoom(), scale);

  await page.setViewportSize({ width: PHONE.height, height: PHONE.width });
  await until("it is laid out", () => page.evaluate(() => innerWidth === 844));
  assert.equal(await zoom(), scale, "a turned phone keeps the view");
  await page.setViewportSize(PHONE);
  await until("it is laid out", () => page.evaluate(() => innerWidth === 390));
  await pinch(at, 200, 30);
  await until("the whole picture", async () => (await zoom()) === 1);
});

test("a tap opens no keyboard, the button does, and what it writes is typed with its corrections", async () => {
  const mode = (): Promise<string> =>
    page.evaluate(() => document.querySelector<HTMLTextAreaElement>("[data-testid=keyboard]")?.inputMode ?? "");
  await tap(await onPage(page, 320, 180));
  await desktop.reaches("a click", buttons, "1+1-");
  assert.equal(await mode(), "none");
  await page.focus("[data-testid=tool-screen-keyboard]");
  await page.tap("[data-testid=tool-screen-keyboard]");
  await page.waitForSelector("[data-testid=key-row]");
  assert.equal(await mode(), "text");
  const typed = (): string =>
    fresh()
      .flatMap((event) => (event.type === "key" && event.down ? [event.keysym === "BackSpace" ? "<" : event.keysym] : []))
      .join("");
  const ime = await page.context().newCDPSession(page);
  // A word that is composed, and corrected with the space: as Android's keyboards do.
  for (const text of ["t", "te", "teh"]) await ime.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
  await desktop.reaches("the word while it is composed", typed, "teh");
  await ime.send("Input.insertText", { text: "the" });
  await desktop.reaches("the correction", typed, "teh<<he");
  await page.keyboard.press("Backspace");
  await desktop.reaches("the deletion", typed, "teh<<he<");

  await steadily(
    [page],
    async () => {
      const [c, control] = [desktop.key("c"), desktop.key("Control_L")];
      await page.tap("[data-testid=key-ControlLeft]");
      await desktop.reaches("Ctrl is down", () => desktop.key("Control_L"), `${control}+`);
      await page.keyboard.insertText("C");
      await desktop.reaches("Ctrl+C", () => [desktop.key("c"), desktop.key("Control_L")], [`${c}+-`, `${control}+-`]);
    },
    // What has been typed has let go of it, if not the server.
    () => desktop.fence(page, "5"),
  );
  await page.tap("[data-testid=key-Escape]");
  await page.tap("[data-testid=key-F5]");
  await desktop.reaches("Escape and F5", () => [desktop.key("Escape"), desktop.key("F5")], ["+-", "+-"]);

  // Two taps one after the other, whatever the machine is busy with, lock it: the arrows select.
  await page.locator("[data-testid=key-ShiftLeft]").evaluate((key: HTMLElement) => {
    key.click();
    key.click();
  });
  await page.waitForSelector("[data-testid=key-ShiftLeft][data-state=locked]");
  await page.tap("[data-testid=key-ArrowLeft]");
  await page.tap("[data-testid=key-ArrowUp]");
  await desktop.reaches("arrows while Shift is down", () => [desktop.key("Shift_L"), desktop.key("Left"), desktop.key("Up")], ["+", "+-", "+-"]);
  await page.tap("[data-testid=key-ShiftLeft]");
  await desktop.reaches("Shift is up", () => desktop.key("Shift_L"), "+-");

  await page.tap("[data-testid=key-AltLeft]");
  await desktop.reaches("Alt is down", () => desktop.key("Alt_L"), "+");
  await page.evaluate(() => {
    (document.activeElement as HTMLElement | null)?.blur();
  });
  await desktop.reaches("Alt is up without the focus", () => desktop.key("Alt_L"), "+-");
  await page.waitForSelector("[data-testid=key-row]", { state: "detached" });
});

test("fingers are offered as fingers only where the session takes them", async () => {
  assert.equal(await page.locator("[data-testid=tool-touch]").count(), 0);
  assert.equal(await page.locator("[data-testid=tool-screen-keyboard]").count(), 1);
});

test("a screen stays on while it is watched, also after the page was hidden", async () => {
  const context = await browser.newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  await context.addInitScript(() => {
    const locks = { held: 0, asked: 0 };
    Object.assign(window, { locks });
    Object.defineProperty(Navigator.prototype, "wakeLock", {
      configurable: true,
      value: {
        request: (): Promise<unknown> => {
          locks.held += 1;
          locks.asked += 1;
          const lock = {
            released: false,
            release: (): Promise<void> => {
              if (!lock.released) locks.held -= 1;
              lock.released = true;
              return Promise.resolve();
            },
          };
          // As browsers do when a page is hidden.
          document.addEventListener("visibilitychange", () => {
            if (document.visibilityState === "hidden") void lock.release();
          }, { capture: true });
          return Promise.resolve(lock);
        },
      },
    });
  });
  const other = await context.newPage();
  await other.goto(new URL("s/desk", server.url).href);
  const locks = (): Promise<{ held: number; asked: number }> =>
    other.evaluate(() => (window as unknown as { locks: { held: number; asked: number } }).locks);
  await until("the lock", async () => (await locks()).held === 1);
  const show = (state: string): Promise<void> =>
    other.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { configurable: true, value: state });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  await show("hidden");
  await until("it is gone", async () => (await locks()).held === 0);
  await show("visible");
  await until("it is asked for again", async () => (await locks()).held === 1);
  assert.equal((await locks()).asked, 2);
  await context.close();
});
