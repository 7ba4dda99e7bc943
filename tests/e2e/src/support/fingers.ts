/** Fingers on a page, past what Playwright offers: several at once, as Chromium's protocol takes them. */

import type { CDPSession, Page } from "playwright-core";

export type Place = { readonly x: number; readonly y: number };

/** Events that are sent at once are so far from each other. */
const APART_MS = 8;

export class Fingers {
  readonly #session: CDPSession;
  #last = 0;
  #touching = false;

  private constructor(session: CDPSession) {
    this.#session = session;
  }

  static async on(page: Page): Promise<Fingers> {
    return new Fingers(await page.context().newCDPSession(page));
  }

  /** All fingers that are down now, in the order of their numbers. */
  async down(...places: readonly Place[]): Promise<void> {
    await this.#send("touchStart", places);
  }

  async move(...places: readonly Place[]): Promise<void> {
    await this.#send("touchMove", places);
  }

  /** All of them are lifted. */
  async up(): Promise<void> {
    await this.#send("touchEnd", []);
  }

  /** The browser takes them away. */
  async cancel(): Promise<void> {
    await this.#send("touchCancel", []);
  }

  /** Those that are down are lifted, if any are. */
  async rest(): Promise<void> {
    if (this.#touching) await this.up();
  }

  async tap(place: Place): Promise<void> {
    // Both are on their way at once: a busy machine makes no long press of it.
    await Promise.all([this.down(place), this.up()]);
  }

  async #send(type: "touchStart" | "touchMove" | "touchEnd" | "touchCancel", places: readonly Place[]): Promise<void> {
    this.#touching = places.length > 0;
    const touchPoints = places.map(({ x, y }, id) => ({ x, y, id }));
    // When the browser gets to it is not when the finger moved: a page on a busy machine sees the gesture as it was meant.
    this.#last = Math.max(Date.now(), this.#last + APART_MS);
    await this.#session.send("Input.dispatchTouchEvent", { type, touchPoints, timestamp: this.#last / 1000 });
  }
}
