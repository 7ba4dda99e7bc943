/**
 * Whether the machine stood still: a timer that should tick all the time, in pages and here, did not; or a page was given input
 * late, as the browser's own process did.
 */

import type { Page } from "playwright-core";

const TICK_MS = 50;
/** A tick that comes later than this counts. */
const LATE_MS = 150;
/** The server lets go of what is held after two seconds of silence, and a stall has a begin and an end that are not seen. */
const TOO_LONG_MS = 1_500;
/** How often something is done again because the machine stood still. */
const ROUNDS = 10;

/** A time without a tick, ms since 1970. */
export type Stall = { from: number; to: number };

type Ticking = { last: number; stalls: Stall[]; timer: ReturnType<typeof setInterval>; end: () => void };

declare global {
  interface Window {
    ticking?: Ticking;
  }
}

/** Runs in a page as well as here, so it uses nothing but what is inside of it. */
function tick([everyMs, lateMs]: [number, number]): Ticking {
  const clock = (): number => performance.timeOrigin + performance.now();
  const stalls: Stall[] = [];
  const listening = new AbortController();
  const ticking: Ticking = {
    last: clock(),
    stalls,
    timer: setInterval(() => {
      const now = clock();
      if (now - ticking.last > lateMs) stalls.push({ from: ticking.last, to: now });
      ticking.last = now;
    }, everyMs),
    end: () => {
      clearInterval(ticking.timer);
      listening.abort();
    },
  };
  if (typeof window !== "undefined") {
    window.ticking?.end();
    window.ticking = ticking;
    // A page's timers go on while the process that hands it the input stands still.
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      const late = (event: Event): void => {
        const from = performance.timeOrigin + event.timeStamp;
        if (clock() - from > lateMs) stalls.push({ from, to: clock() });
      };
      window.addEventListener(type, late, { capture: true, passive: true, signal: listening.signal });
    }
  }
  return ticking;
}

/** Those of a timer, with the one that may last still. */
function seenBy({ last, stalls }: Ticking, now: number): Stall[] {
  return now - last > LATE_MS ? [...stalls, { from: last, to: now }] : stalls;
}

export class Stalls {
  readonly #here = tick([TICK_MS, LATE_MS]);

  private constructor(readonly pages: readonly Page[]) {}

  /** Watches from now on; at most one at a time watches a page. */
  static async watch(...pages: Page[]): Promise<Stalls> {
    const stalls = new Stalls(pages);
    for (const page of pages) await page.evaluate(tick, [TICK_MS, LATE_MS] as [number, number]);
    return stalls;
  }

  /** All so far, of the pages that are still there and of this process. */
  async all(): Promise<Stall[]> {
    const ofPage = (page: Page): Promise<Stall[]> =>
      page
        .evaluate(() => ({ ticking: window.ticking, now: performance.timeOrigin + performance.now() }))
        .then(({ ticking, now }) => (ticking === undefined ? [] : seenBy(ticking, now)))
        .catch(() => []);
    const ofPages = await Promise.all(this.pages.map(ofPage));
    return [...seenBy(this.#here, performance.timeOrigin + performance.now()), ...ofPages.flat()];
  }

  async longest(): Promise<number> {
    return Math.max(0, ...(await this.all()).map(({ from, to }) => to - from));
  }

  end(): void {
    this.#here.end();
  }
}

/** How much of a time was not spent standing still, ms. */
export function awake({ from, to }: Stall, stalls: readonly Stall[]): number {
  let [left, at] = [to - from, from];
  for (const stall of [...stalls].sort((a, b) => a.from - b.from)) {
    const [begin, end] = [Math.max(stall.from, at), Math.min(stall.to, to)];
    if (end <= begin) continue;
    left -= end - begin;
    at = end;
  }
  return left;
}

/**
 * Does what a page times, such as a tap that is to be followed by a touch soon: again, after `undo`, when the machine stood still meanwhile for
 * as long as makes a difference.
 */
export async function swiftly(page: Page, step: () => Promise<unknown>, undo: () => Promise<void>): Promise<void> {
  for (let round = 1; ; round++) {
    const watched = await Stalls.watch(page);
    await step();
    const longest = await watched.longest();
    watched.end();
    if (longest === 0 || round === ROUNDS) return;
    console.log(`once more, as nothing ticked for ${longest.toFixed(0)} ms`);
    await undo();
  }
}

/**
 * Does a step that holds something down. If it fails and the machine stood still for so long meanwhile that the server had to let go, it is
 * done again; if it fails and the machine did not, it has failed. `undo` comes before the repetition.
 */
export async function steadily(pages: readonly Page[], step: () => Promise<void>, undo: () => Promise<void>): Promise<void> {
  for (let round = 1; ; round++) {
    const watched = await Stalls.watch(...pages);
    try {
      await step();
      return;
    } catch (error) {
      const longest = await watched.longest();
      if (longest < TOO_LONG_MS || round === ROUNDS) throw error;
      console.log(`once more, as nothing ticked for ${longest.toFixed(0)} ms: ${String(error)}`);
    } finally {
      watched.end();
    }
    await undo();
  }
}
