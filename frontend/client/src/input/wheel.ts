/**
 * Wheel events as notches. Browsers tell pixels, lines or pages; one notch of a mouse wheel is 100 or 120
 * pixels, depending on the browser, and touchpads make fractions of one. The session's side adds fractions up.
 */

/** The part of a `WheelEvent` that matters. */
export type WheelLike = { readonly deltaX: number; readonly deltaY: number; readonly deltaMode: number };

export type Notches = { readonly dx: number; readonly dy: number };

const LINE_MODE = 1;
const PAGE_MODE = 2;
const LINES_PER_NOTCH = 3;
/** No wheel turns further in one event; the streamer refuses more. */
const MOST_NOTCHES = 100;

export class WheelNormaliser {
  /** Pixels of a notch, as last seen: 600 pixels may be five or six of them. */
  #notchPx = 100;

  notches(event: WheelLike): Notches {
    return { dx: this.#axis(event.deltaX, event.deltaMode), dy: this.#axis(event.deltaY, event.deltaMode) };
  }

  #axis(delta: number, mode: number): number {
    if (!Number.isFinite(delta) || delta === 0) return 0;
    const notches =
      mode === LINE_MODE ? delta / LINES_PER_NOTCH : mode === PAGE_MODE ? delta : this.#pixels(delta);
    return Math.min(Math.max(notches, -MOST_NOTCHES), MOST_NOTCHES);
  }

  #pixels(delta: number): number {
    const whole = (notch: number): boolean => delta % notch === 0;
    if (!whole(this.#notchPx)) {
      const other = [100, 120].find(whole);
      if (other !== undefined) this.#notchPx = other;
    }
    return delta / this.#notchPx;
  }
}
