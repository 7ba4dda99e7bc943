/**
 * Recognises what fingers on a picture mean while they stand for a mouse: a pure state machine. It takes fingers and the time, and
 * returns actions.
 *
 * | fingers | action |
 * |---|---|
 * | tap with one, two or three | click with the left, right or middle button |
 * | long press | click with the right button |
 * | one that moves | slide: moves the pointer, or what is seen of an enlarged picture |
 * | tap, then down again and move | drag with the left button |
 * | two that move together | scroll, which goes on for a while when they are lifted while moving |
 * | two that move apart or together | pinch |
 *
 * A tap presses the button at once and releases it {@link AGAIN_MS} later: if the finger is back by then, it is still the same press,
 * so that a drag does not begin with a double click. Two taps in a row are two clicks.
 *
 * ```text
 * idle ─▶ one ─up─▶ tapped ─▶ again ─moves─▶ dragging
 *          ├─moves─▶ sliding
 *          ├─time──▶ spent (until all fingers are up)
 *          └─more──▶ several: undecided ─▶ scrolling ─▶ coasting, or pinching
 * ```
 */

export type Point = { readonly x: number; readonly y: number };

export type FingerEvent = {
  readonly type: "down" | "move" | "up" | "cancel";
  /** The number of the finger: `PointerEvent.pointerId`. */
  readonly finger: number;
  /** CSS pixels on the page. */
  readonly at: Point;
};

/** X's numbers: left, middle, right. */
export type FingerButton = 1 | 2 | 3;

/** What to do. Positions and distances are CSS pixels. */
export type Gesture =
  | { readonly type: "click"; readonly button: FingerButton; readonly at: Point }
  | { readonly type: "press" | "drag" | "release"; readonly at: Point }
  | { readonly type: "slide"; readonly at: Point; readonly dx: number; readonly dy: number }
  /** Two fingers have begun to scroll what is here. */
  | { readonly type: "scroll-start"; readonly at: Point }
  /** How far the content follows the fingers. */
  | { readonly type: "scroll"; readonly dx: number; readonly dy: number }
  /** Enlarges by `factor` around `at`, which has moved by `dx` and `dy`. */
  | { readonly type: "pinch"; readonly at: Point; readonly factor: number; readonly dx: number; readonly dy: number };

/** A finger that rests trembles less than this. */
const SLOP_PX = 10;
/** Two fingers that scroll do not keep their distance exactly. */
const PINCH_SLOP_PX = 18;
const LONG_PRESS_MS = 500;
/** Longer touches with several fingers are no taps. */
const TAP_MS = 300;
/** How long after a tap the finger may come back to drag. */
export const AGAIN_MS = 200;
/** How far from the tap it may come back. */
const AGAIN_PX = 40;
/** The speed at which fingers are lifted is that of their last movement over this time. */
const SPEED_MS = 80;
/** The speed of coasting falls to 1/e in this time. */
const COAST_MS = 325;
/** Slower is at rest; px/ms. */
const REST_SPEED = 0.03;
/** No finger is faster; px/ms. */
const TOP_SPEED = 5;
/** One step of coasting. */
const FRAME_MS = 16;

type Speed = { readonly x: number; readonly y: number };
type Sample = { readonly at: Point; readonly now: number };

type State =
  | { readonly kind: "idle" }
  | { readonly kind: "one"; readonly start: Point; readonly since: number }
  | { readonly kind: "sliding"; readonly finger: number; readonly last: Point }
  /** The button is down. */
  | { readonly kind: "tapped"; readonly at: Point; readonly until: number }
  /** The button is down, and so is the finger. */
  | { readonly kind: "again"; readonly finger: number; readonly start: Point; readonly since: number }
  | { readonly kind: "dragging"; readonly finger: number }
  | {
      readonly kind: "several";
      readonly since: number;
      readonly most: number;
      readonly start: Pair;
    }
  | { readonly kind: "scrolling"; readonly last: Point; readonly samples: readonly Sample[] }
  | { readonly kind: "pinching"; readonly last: Pair }
  | { readonly kind: "coasting"; readonly speed: Speed; readonly at: number }
  /** The finger has stopped what coasted: that was its tap. It may still slide, and another may join it. */
  | { readonly kind: "stopped"; readonly start: Point }
  /** What these fingers meant is done. */
  | { readonly kind: "spent" };

/** The middle of the fingers and how far apart they are. */
type Pair = { readonly middle: Point; readonly apart: number };

const IDLE: State = { kind: "idle" };
const SPENT: State = { kind: "spent" };

export class Gestures {
  readonly #fingers = new Map<number, Point>();
  #state: State = IDLE;

  /** When {@link tick} is due; null: not before the next event. */
  get deadline(): number | null {
    const state = this.#state;
    switch (state.kind) {
      case "one":
        return state.since + LONG_PRESS_MS;
      case "tapped":
        return state.until;
      case "coasting":
        return state.at + FRAME_MS;
      default:
        return null;
    }
  }

  /** Whether a finger is known to be down. */
  has(finger: number): boolean {
    return this.#fingers.has(finger);
  }

  /** Forgets everything, for when all that is held is released by other means. Fingers that are down mean nothing any more. */
  reset(): void {
    this.#fingers.clear();
    this.#state = IDLE;
  }

  handle({ type, finger, at }: FingerEvent, now: number): Gesture[] {
    const due = this.tick(now);
    if (type === "down") return [...due, ...this.#down(finger, at, now)];
    if (!this.#fingers.has(finger)) return due;
    if (type === "move") {
      this.#fingers.set(finger, at);
      return [...due, ...this.#moved(finger, at, now)];
    }
    const actions = type === "up" ? this.#up(finger, at, now) : this.#cancelled(at);
    this.#fingers.delete(finger);
    if (this.#fingers.size === 0 && this.#state.kind === "spent") this.#state = IDLE;
    return [...due, ...actions];
  }

  /** What time alone brings. */
  tick(now: number): Gesture[] {
    const { deadline } = this;
    const state = this.#state;
    if (deadline === null || now < deadline) return [];
    switch (state.kind) {
      case "one":
        this.#state = SPENT;
        return [{ type: "click", button: 3, at: state.start }];
      case "tapped":
        this.#state = IDLE;
        return [{ type: "release", at: state.at }];
      case "coasting":
        return this.#coast(state.speed, now - state.at, now);
      default:
        return [];
    }
  }

  #down(finger: number, at: Point, now: number): Gesture[] {
    this.#fingers.set(finger, at);
    const state = this.#state;
    switch (state.kind) {
      case "idle":
        this.#state = { kind: "one", start: at, since: now };
        return [];
      case "tapped":
        if (distance(state.at, at) <= AGAIN_PX) {
          this.#state = { kind: "again", finger, start: at, since: now };
          return [];
        }
        this.#state = { kind: "one", start: at, since: now };
        return [{ type: "release", at: state.at }];
      // As everywhere: a touch stops what coasts, and is no tap.
      case "coasting":
        this.#state = { kind: "stopped", start: at };
        return [];
      case "one":
      case "stopped":
      case "sliding":
        this.#state = { kind: "several", since: now, most: this.#fingers.size, start: this.#pair() };
        return [];
      case "several":
        this.#state = { ...state, most: Math.max(state.most, this.#fingers.size), start: this.#pair() };
        return [];
      case "scrolling":
        this.#state = { kind: "scrolling", last: this.#pair().middle, samples: [] };
        return [];
      case "pinching":
        this.#state = { kind: "pinching", last: this.#pair() };
        return [];
      case "again":
      case "dragging":
      case "spent":
        return [];
    }
  }

  #moved(finger: number, at: Point, now: number): Gesture[] {
    const state = this.#state;
    switch (state.kind) {
      case "one":
      case "stopped":
        if (distance(state.start, at) <= SLOP_PX) return [];
        this.#state = { kind: "sliding", finger, last: at };
        return [{ type: "slide", at, dx: at.x - state.start.x, dy: at.y - state.start.y }];
      case "sliding":
        if (finger !== state.finger) return [];
        this.#state = { ...state, last: at };
        return [{ type: "slide", at, dx: at.x - state.last.x, dy: at.y - state.last.y }];
      case "again":
        if (finger !== state.finger || distance(state.start, at) <= SLOP_PX) return [];
        this.#state = { kind: "dragging", finger };
        return [{ type: "drag", at }];
      case "dragging":
        return finger === state.finger ? [{ type: "drag", at }] : [];
      case "several":
        return this.#decide(state.start, now);
      case "scrolling": {
        const { middle } = this.#pair();
        const recent = state.samples.filter((sample) => now - sample.now <= SPEED_MS);
        this.#state = { kind: "scrolling", last: middle, samples: [...recent, { at: middle, now }] };
        return [{ type: "scroll", dx: middle.x - state.last.x, dy: middle.y - state.last.y }];
      }
      case "pinching": {
        const pair = this.#pair();
        this.#state = { kind: "pinching", last: pair };
        return [pinch(state.last, pair)];
      }
      case "idle":
      case "tapped":
      case "coasting":
      case "spent":
        return [];
    }
  }

  /** Scrolling or pinching, whichever is clear first. */
  #decide(start: Pair, now: number): Gesture[] {
    const pair = this.#pair();
    const parted = Math.abs(pair.apart - start.apart) / PINCH_SLOP_PX;
    const moved = distance(pair.middle, start.middle) / SLOP_PX;
    if (Math.max(parted, moved) <= 1) return [];
    if (parted > moved) {
      this.#state = { kind: "pinching", last: pair };
      return [pinch(start, pair)];
    }
    this.#state = { kind: "scrolling", last: pair.middle, samples: [{ at: pair.middle, now }] };
    const { middle } = start;
    return [
      { type: "scroll-start", at: middle },
      { type: "scroll", dx: pair.middle.x - middle.x, dy: pair.middle.y - middle.y },
    ];
  }

  #up(finger: number, at: Point, now: number): Gesture[] {
    const state = this.#state;
    switch (state.kind) {
      case "one":
        this.#state = { kind: "tapped", at: state.start, until: now + AGAIN_MS };
        return [{ type: "press", at: state.start }];
      case "stopped":
      case "sliding":
        this.#state = SPENT;
        return [];
      case "again":
        if (finger !== state.finger) return [];
        // The press goes on for as long as the finger stays; a short one is a second click.
        this.#state = SPENT;
        return now - state.since < LONG_PRESS_MS
          ? [{ type: "release", at: state.start }, { type: "click", button: 1, at: state.start }]
          : [{ type: "release", at: state.start }];
      case "dragging":
        if (finger !== state.finger) return [];
        this.#state = SPENT;
        return [{ type: "release", at }];
      case "several":
        this.#state = SPENT;
        if (now - state.since > TAP_MS) return [];
        return [{ type: "click", button: state.most === 2 ? 3 : 2, at: state.start.middle }];
      case "scrolling": {
        const speed = speedOf(state.samples, now);
        // One finger that stays down holds what it has scrolled.
        const lifted = this.#fingers.size <= 2 && speed !== null;
        this.#state = lifted ? { kind: "coasting", speed, at: now } : SPENT;
        return [];
      }
      case "pinching":
        this.#state = SPENT;
        return [];
      case "idle":
      case "tapped":
      case "coasting":
      case "spent":
        return [];
    }
  }

  /** The browser has taken a finger away: nothing that it began is finished. */
  #cancelled(at: Point): Gesture[] {
    const { kind } = this.#state;
    this.#state = SPENT;
    return kind === "again" || kind === "dragging" || kind === "tapped" ? [{ type: "release", at }] : [];
  }

  #coast(speed: Speed, ms: number, now: number): Gesture[] {
    const left = Math.exp(-ms / COAST_MS);
    const next = { x: speed.x * left, y: speed.y * left };
    const goesOn = Math.hypot(next.x, next.y) > REST_SPEED;
    this.#state = goesOn ? { kind: "coasting", speed: next, at: now } : this.#fingers.size === 0 ? IDLE : SPENT;
    // The way under an exponential, however long the step was.
    const way = COAST_MS * (1 - left);
    return [{ type: "scroll", dx: speed.x * way, dy: speed.y * way }];
  }

  /** Of the first two fingers: with three, the third may hang about. */
  #pair(): Pair {
    const [a, b] = [...this.#fingers.values()];
    if (a === undefined) return { middle: { x: 0, y: 0 }, apart: 0 };
    if (b === undefined) return { middle: a, apart: 0 };
    return { middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }, apart: distance(a, b) };
  }
}

function distance(a: Point, b: Point): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function pinch(before: Pair, after: Pair): Gesture {
  return {
    type: "pinch",
    at: after.middle,
    factor: before.apart > 0 && after.apart > 0 ? after.apart / before.apart : 1,
    dx: after.middle.x - before.middle.x,
    dy: after.middle.y - before.middle.y,
  };
}

/** Null when it was at rest, or nothing is known. */
function speedOf(samples: readonly Sample[], now: number): Speed | null {
  const recent = samples.filter((sample) => now - sample.now <= SPEED_MS);
  const [first, last] = [recent[0], recent.at(-1)];
  if (first === undefined || last === undefined || last.now <= first.now) return null;
  const ms = last.now - first.now;
  const x = (last.at.x - first.at.x) / ms;
  const y = (last.at.y - first.at.y) / ms;
  const speed = Math.hypot(x, y);
  if (!(speed > REST_SPEED)) return null;
  const scale = Math.min(1, TOP_SPEED / speed);
  return { x: x * scale, y: y * scale };
}
