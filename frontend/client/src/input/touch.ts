/** Fingers that stand for a mouse, at the edge: pointer events and a timer into {@link Gestures}, their actions to the pointer and to the view. */

import { type FingerButton, type FingerEvent, type Gesture, Gestures, type Point } from "./gestures";

/** How far two fingers scroll for one notch of a wheel, in CSS pixels. */
const NOTCH_PX = 40;
/** A short tremor says that a long press has been understood, where a phone can. */
const CONFIRM_MS = 12;

export type TouchContext = {
  /** A mouse button of the session's goes down or up. */
  readonly button: (button: FingerButton, down: boolean, at: Point) => void;
  /** The session's pointer goes there. */
  readonly move: (at: Point) => void;
  /** The wheel turns, in notches. */
  readonly turn: (dx: number, dy: number) => void;
  /** The view is enlarged, or what is seen of it moves; false when it cannot. */
  readonly pinch: (at: Point, factor: number, dx: number, dy: number) => boolean;
  /** The picture is shown larger than it fits. */
  readonly enlarged: () => boolean;
};

export class TouchInput {
  readonly #context: TouchContext;
  readonly #gestures = new Gestures();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: TouchContext, signal: AbortSignal) {
    this.#context = context;
    signal.addEventListener("abort", () => {
      this.reset();
    });
  }

  has(finger: number): boolean {
    return this.#gestures.has(finger);
  }

  handle(type: FingerEvent["type"], event: PointerEvent): void {
    const at = { x: event.clientX, y: event.clientY };
    // The time of the touch itself: a busy page may hear of it late.
    this.#perform(this.#gestures.handle({ type, finger: event.pointerId, at }, event.timeStamp));
  }

  /** Forgets fingers and what they hold, without sending releases. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#gestures.reset();
  }

  #perform(actions: readonly Gesture[]): void {
    for (const action of actions) this.#act(action);
    clearTimeout(this.#timer);
    const { deadline } = this.#gestures;
    if (deadline === null) return;
    this.#timer = setTimeout(() => {
      // Timers may be a little early.
      this.#perform(this.#gestures.tick(Math.max(deadline, performance.now())));
    }, deadline - performance.now());
  }

  #act(action: Gesture): void {
    const { button, move, turn, pinch, enlarged } = this.#context;
    switch (action.type) {
      case "click":
        button(action.button, true, action.at);
        button(action.button, false, action.at);
        if (action.button === 3 && "vibrate" in navigator) navigator.vibrate(CONFIRM_MS);
        break;
      case "press":
        button(1, true, action.at);
        break;
      case "release":
        button(1, false, action.at);
        break;
      case "drag":
      case "scroll-start":
        move(action.at);
        break;
      case "slide":
        if (enlarged()) pinch(action.at, 1, action.dx, action.dy);
        else move(action.at);
        break;
      case "scroll":
        // Content follows the fingers; a wheel that turns down moves it up.
        turn(-action.dx / NOTCH_PX, -action.dy / NOTCH_PX);
        break;
      case "pinch":
        pinch(action.at, action.factor, action.dx, action.dy);
        break;
    }
  }
}
