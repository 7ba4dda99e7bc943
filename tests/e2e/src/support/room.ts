/** Pages of a room, with the fake camera and microphone of the browser. */

import assert from "node:assert/strict";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { installProbe } from "./probe.js";
import type { Server } from "./server.js";
import { until } from "./wait.js";

/** The browser has a camera that shows a clock and a microphone that beeps, and asks nobody. */
export const FAKE_DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

export type Tile = {
  name: string;
  own: boolean;
  muted: boolean;
  speaking: boolean;
  /** It is on the page at all, and not only heard. */
  seen: boolean;
  x: number;
  y: number;
  width: number;
  height: number;
  /** Of the picture in it; 0 while there is none. */
  picture: number;
  /** Pictures presented so far. */
  presented: number;
};

export type Options = {
  /** Devices that are on when the person joins. */
  readonly devices?: readonly ("camera" | "microphone")[];
  readonly token?: string;
  readonly context?: BrowserContextOptions;
  readonly init?: () => void;
};

/** Makes a room; its id. */
export async function makeRoom(server: Server, name: string, more: object = {}): Promise<string> {
  const { id } = await server.json<{ id: string }>("POST", "api/rooms?wait=running", { name, ...more });
  return id;
}

export class Person {
  constructor(
    readonly page: Page,
    readonly name: string,
  ) {}

  /** Before joining. */
  static async atDoor(browser: Browser, root: string, id: string, options: Options = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options.context });
    context.setDefaultTimeout(60_000);
    await context.addInitScript(installProbe);
    if (options.init !== undefined) await context.addInitScript(options.init);
    const page = await context.newPage();
    page.on("pageerror", (error) => {
      throw error;
    });
    await page.goto(new URL(`r/${id}${options.token === undefined ? "" : `#token=${options.token}`}`, root).href);
    await page.waitForSelector("[data-testid=lobby]");
    return page;
  }

  /** In the room. */
  static async join(browser: Browser, root: string, id: string, name: string, options: Options = {}): Promise<Person> {
    const page = await Person.atDoor(browser, root, id, options);
    await page.fill("[data-testid=name]", name);
    for (const kind of options.devices ?? ["camera", "microphone"]) {
      await page.click(`[data-testid=${kind}-switch]`);
      await page.waitForSelector(`[data-testid=${kind}-switch][aria-checked=true]`);
    }
    await page.click("[data-testid=join]");
    await page.waitForSelector("[data-testid=room][data-state=connected]", { timeout: 45_000 });
    return new Person(page, name);
  }

  tiles(): Promise<Tile[]> {
    return this.page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("[data-testid=tile]")].map((tile) => {
        const { x, y, width, height } = tile.getBoundingClientRect();
        const video = [...tile.querySelectorAll("video")].find((element) => element.checkVisibility({ visibilityProperty: true }));
        return {
          name: tile.dataset["name"] ?? "",
          own: tile.dataset["own"] === "true",
          muted: tile.dataset["muted"] === "true",
          speaking: tile.dataset["speaking"] === "true",
          seen: tile.checkVisibility(),
          x,
          y,
          width,
          height,
          picture: video?.videoWidth ?? 0,
          presented: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
        };
      }),
    );
  }

  async tile(name: string): Promise<Tile | undefined> {
    return (await this.tiles()).find((tile) => tile.name === name);
  }

  /** Waits until the tiles are those of these people, by name. */
  async meets(...names: string[]): Promise<void> {
    const wanted = [...names].sort().join();
    let met = "";
    await until(`${this.name} meets ${wanted}`, async () => {
      met = (await this.tiles())
        .map(({ name }) => name)
        .sort()
        .join();
      return met === wanted;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}, but ${met}`);
    });
  }

  /** Waits until somebody's picture moves here. */
  async sees(name: string): Promise<void> {
    let from: number | null = null;
    await until(
      `${this.name} sees ${name}`,
      async () => {
        const tile = await this.tile(name);
        if (tile === undefined || tile.picture === 0) return false;
        from ??= tile.presented;
        return tile.presented >= from + 5;
      },
    );
  }

  /** Waits until sound is heard in somebody's tile. */
  async hears(name: string): Promise<void> {
    await until(`${this.name} hears ${name}`, () =>
      this.page.evaluate((name) => {
        const tile = document.querySelector<HTMLElement>(`[data-testid=tile][data-name="${name}"]`);
        const video = tile?.querySelector<HTMLVideoElement>("[data-testid=tile-video]");
        const stream = video?.srcObject;
        if (video === null || video === undefined || !(stream instanceof MediaStream)) return false;
        const [track] = stream.getAudioTracks();
        return !video.muted && !video.paused && track !== undefined && !track.muted;
      }, name),
    );
  }

  async write(text: string): Promise<void> {
    if ((await this.page.locator("[data-testid=panel-chat]").count()) === 0) await this.page.click("[data-testid=bar-chat]");
    await this.page.fill("[data-testid=chat-text]", text);
    await this.page.keyboard.press("Enter");
  }

  /** What the open chat shows. */
  written(): Promise<string[]> {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("[data-testid=chat-message]")].map(
        (message) => `${message.querySelector("b")?.textContent ?? ""}: ${message.querySelector("p")?.textContent ?? ""}`,
      ),
    );
  }

  async leave(): Promise<void> {
    await this.page.click("[data-testid=leave]");
    await this.page.waitForSelector("[data-testid=ended][data-reason=left]");
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}

/** Tiles that are seen stand inside of the page, and none covers another. */
export function assertTidy(tiles: readonly Tile[], page: { width: number; height: number }): void {
  const seen = tiles.filter((tile) => tile.seen);
  for (const tile of seen) {
    const inside = tile.x >= -1 && tile.y >= -1 && tile.x + tile.width <= page.width + 1 && tile.y + tile.height <= page.height + 1;
    assert.ok(inside, `${tile.name} is inside: ${JSON.stringify(tile)}`);
  }
  for (const [i, a] of seen.entries()) {
    for (const b of seen.slice(i + 1)) {
      const apart = a.x + a.width <= b.x + 1 || b.x + b.width <= a.x + 1 || a.y + a.height <= b.y + 1 || b.y + b.height <= a.y + 1;
      assert.ok(apart, `${a.name} and ${b.name} stand apart`);
    }
  }
}
