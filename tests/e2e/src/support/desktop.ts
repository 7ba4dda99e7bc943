/** A desktop whose input is watched on the X side, by a program that prints what X gives it. */

import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { PROGRAMS, type Server } from "./server.js";
import { becomes, until } from "./wait.js";

export type XEvent =
  | { readonly type: "ready" }
  | { readonly type: "key"; readonly keysym: string; readonly down: boolean; readonly time: number }
  | {
      readonly type: "button";
      readonly button: number;
      readonly down: boolean;
      readonly x: number;
      readonly y: number;
    }
  | { readonly type: "motion"; readonly x: number; readonly y: number };

export const WIDTH = 640;
export const HEIGHT = 360;

export class Desktop {
  /** Pictures per second, at most. */
  static readonly FPS = 30;
  readonly #dir: string;
  readonly #file: string;

  private constructor(
    readonly id: string,
    dir: string,
    file: string,
  ) {
    this.#dir = dir;
    this.#file = file;
  }

  /**
   * Starts one without repetition of held keys.
   * @param options of xwatch.
   * @param beside what runs beside it, a line for the shell.
   */
  static async create(server: Server, id: string, options = "", beside = ""): Promise<Desktop> {
    const file = join(server.dir, `${id}.jsonl`);
    const command = `${beside} exec ${join(PROGRAMS, "xwatch")} --no-autorepeat ${options} > ${file}`;
    await server.create(id, { type: "desktop", width: WIDTH, height: HEIGHT, fps: Desktop.FPS, audio: false, command });
    const desktop = new Desktop(id, server.dir, file);
    await until("xwatch is ready", () => desktop.events().some(({ type }) => type === "ready"));
    return desktop;
  }

  /** One whose picture moves on its left half until it is to rest; the right half gets the input. */
  static async moving(server: Server, id: string): Promise<Desktop> {
    const loop = `while [ ! -e ${join(server.dir, `${id}.rest`)} ]; do date +%N; sleep 0.03; done; exec sleep 1000000`;
    const terminal = `xterm -geometry 40x20+0+0 -e sh -c '${loop}' &`;
    return Desktop.create(server, id, `--geometry ${String(WIDTH / 2)}x${String(HEIGHT)}+${String(WIDTH / 2)}+0`, terminal);
  }

  /** The picture of one that moves does so no more. */
  async rest(): Promise<void> {
    await writeFile(join(this.#dir, `${this.id}.rest`), "");
  }

  /** Everything that has reached X so far. */
  events(): XEvent[] {
    if (!existsSync(this.#file)) return [];
    const lines = readFileSync(this.#file, "utf8").split("\n");
    // What follows the last line break is not complete yet.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as XEvent);
  }

  /** Presses and releases of a key in their order, as `"+"` and `"-"`. */
  key(keysym: string): string {
    return this.events()
      .flatMap((event) => (event.type === "key" && event.keysym === keysym ? [event.down ? "+" : "-"] : []))
      .join("");
  }

  /** The same for a mouse button; 4 and 5 are the wheel. */
  button(button: number): string {
    return this.events()
      .flatMap((event) => (event.type === "button" && event.button === button ? [event.down ? "+" : "-"] : []))
      .join("");
  }

  /** All that has been typed, keys without a letter left out. */
  text(): string {
    return this.events()
      .flatMap((event) => (event.type === "key" && event.down && event.keysym.length === 1 ? [event.keysym] : []))
      .join("");
  }

  pointer(): { x: number; y: number } | undefined {
    const last = this.events().findLast((event) => event.type === "motion");
    return last?.type === "motion" ? { x: last.x, y: last.y } : undefined;
  }

  /** Waits until `read`, of what X has got, is `value`. */
  async reaches(what: string, read: () => unknown, value: unknown, ms?: number): Promise<void> {
    await becomes(what, read, value, ms);
  }

  /**
   * Types a key and waits until X has it: whatever the page sent before, reliably, has then been dealt
   * with, so that what has not happened will not.
   */
  async fence(page: Page, letter: string): Promise<void> {
    const before = this.key(letter);
    await page.keyboard.press(letter);
    await this.reaches(`the key ${letter}`, () => this.key(letter), `${before}+-`);
  }
}

/** Where a pixel of the session is on the page: the picture is as large as fits, in the middle. */
export async function onPage(page: Page, x: number, y: number): Promise<{ x: number; y: number }> {
  const box = await page.locator("[data-testid=video]").boundingBox();
  if (box === null) throw new Error("there is no video");
  const scale = Math.min(box.width / WIDTH, box.height / HEIGHT);
  return {
    x: box.x + (box.width - WIDTH * scale) / 2 + (x + 0.5) * scale,
    y: box.y + (box.height - HEIGHT * scale) / 2 + (y + 0.5) * scale,
  };
}

export async function movePointer(page: Page, x: number, y: number): Promise<void> {
  const at = await onPage(page, x, y);
  await page.mouse.move(at.x, at.y);
}
