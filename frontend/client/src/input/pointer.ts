/**
 * Pointer and wheel of one slot: DOM events in, messages out, at once and one by one.
 *
 * Motion is taken from `pointerrawupdate` where a browser has it, since `pointermove` waits for the next
 * frame. Very fast mice are thinned out to one position in {@link MOTION_GAP_MS}; the last position of a
 * movement always goes out with the `pointermove` that follows. Buttons carry their position.
 */

import type { Position } from "../generated";
import type { InputClient } from "../view";
import type { CursorView } from "./cursor";
import { containedRect, pictureSize, type Rect, type Size, toPicture } from "./geometry";
import { buttonChanges, type Held } from "./held";
import type { Magnifier } from "./magnifier";
import { TouchInput } from "./touch";
import { WheelNormaliser } from "./wheel";

/** Shortest time between two positions; 250 a second are more than any screen shows. */
const MOTION_GAP_MS = 4;
/** Motion may be lost, so the last position is sent twice, unless somebody else has moved the pointer meanwhile. */
const SETTLE_MS = 60;

/** What touches are to the session: gestures that stand for a mouse, or touches. */
export type TouchMode = "mouse" | "touch";

export type PointerContext = {
  readonly client: InputClient;
  readonly slot: number;
  readonly surface: HTMLElement;
  readonly video: HTMLVideoElement;
  readonly held: Held;
  readonly cursor: CursorView;
  readonly magnifier: Magnifier;
  /** Input is wanted now. */
  readonly active: () => boolean;
  /** A press: take the focus. */
  readonly focus: () => void;
  /** Something was pressed or released. */
  readonly heldChanged: () => void;
  /** What is seen of the picture has changed. */
  readonly viewChanged: () => void;
};

export class PointerInput {
  /** Applies to fingers that come down from now on. */
  touchMode: TouchMode = "mouse";
  readonly #context: PointerContext;
  readonly #wheel = new WheelNormaliser();
  readonly #touch: TouchInput;
  readonly #rawUpdates = "onpointerrawupdate" in window;
  #buttons = 0;
  #last: Position | null = null;
  #lastSent = 0;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #total = { x: 0, y: 0 };

  constructor(context: PointerContext, signal: AbortSignal) {
    this.#context = context;
    this.#touch = this.#makeTouch(signal);
    this.#listen(signal);
  }

  get locked(): boolean {
    return document.pointerLockElement === this.#context.surface;
  }

  /** The picture's rectangle on the page. */
  pictureRect(): Rect {
    return containedRect(this.#context.video.getBoundingClientRect(), this.picture());
  }

  /** The size in whose pixels positions are sent. */
  picture(): Size {
    const { client, slot, video } = this.#context;
    return pictureSize(client.slots.get(slot), video);
  }

  /** Somebody else has moved the pointer: a pending repetition is outdated. */
  movedByOther(): void {
    clearTimeout(this.#settle);
  }

  /** Forgets what is pressed, without sending releases. */
  reset(): void {
    this.#buttons = 0;
    this.#last = null;
    this.#touch.reset();
    clearTimeout(this.#settle);
  }

  #listen(signal: AbortSignal): void {
    const { surface } = this.#context;
    const on = <K extends keyof HTMLElementEventMap>(
      type: K,
      handle: (event: HTMLElementEventMap[K]) => void,
    ): void => {
      surface.addEventListener(type, handle, { signal, passive: false });
    };
    on("pointerdown", (event) => {
      this.#context.focus();
      if (event.pointerType === "touch" && this.touchMode === "mouse") {
        // Also of viewers who only watch: what they see is theirs to enlarge.
        this.#capture(event);
        this.#touch.handle("down", event);
        return;
      }
      if (!this.#context.active()) return;
      if (event.pointerType !== "mouse" || !this.locked) this.#capture(event);
      if (event.pointerType === "touch") this.#touched(event, true);
      else this.#pressed(event);
    });
    on("pointermove", (event) => {
      if (this.#touch.has(event.pointerId)) {
        this.#touch.handle("move", event);
        return;
      }
      if (!this.#context.active() || this.#isStray(event)) return;
      if (this.#context.held.holdsTouch(event.pointerId)) {
        if (!this.#rawUpdates) this.#touchMoved(event);
        return;
      }
      // Further buttons of a mouse come as moves.
      if (event.buttons !== this.#buttons) this.#pressed(event);
      else if (!this.locked) this.#moved(event);
      else if (!this.#rawUpdates) this.#movedBy(event);
    });
    on("pointerrawupdate", (event) => {
      if (!(event instanceof PointerEvent)) return;
      if (!this.#context.active() || this.#touch.has(event.pointerId) || this.#isStray(event)) return;
      if (this.#context.held.holdsTouch(event.pointerId)) {
        this.#touchMoved(event);
        return;
      }
      if (event.buttons !== this.#buttons) return;
      if (this.locked) this.#movedBy(event);
      else if (performance.now() - this.#lastSent >= MOTION_GAP_MS) this.#moved(event);
    });
    for (const type of ["pointerup", "pointercancel"] as const)
      on(type, (event) => {
        if (this.#touch.has(event.pointerId)) this.#touch.handle(type === "pointerup" ? "up" : "cancel", event);
        else if (this.#context.held.holdsTouch(event.pointerId)) this.#touched(event, false);
        else if (!this.#isStray(event)) this.#pressed(event);
      });
    on("wheel", (event) => {
      event.preventDefault();
      if (this.#context.active()) this.#turned(event);
    });
    // The browser's default actions are suppressed: menus, dragging, going back.
    for (const type of [
      "contextmenu",
      "dragstart",
      "selectstart",
      "auxclick",
      "mousedown",
      "mouseup",
    ] as const) {
      on(type, (event) => {
        event.preventDefault();
      });
    }
    signal.addEventListener("abort", () => {
      clearTimeout(this.#settle);
    });
  }

  /** A finger that was lifted for it already, by a blur: it is nothing to the mouse. */
  #isStray(event: PointerEvent): boolean {
    return event.pointerType === "touch" && !this.#context.held.holdsTouch(event.pointerId);
  }

  #makeTouch(signal: AbortSignal): TouchInput {
    const { client, slot, held, cursor, magnifier, active, heldChanged, viewChanged } = this.#context;
    const place = (at: { readonly x: number; readonly y: number }): Position =>
      toPicture(at, this.pictureRect(), this.picture());
    return new TouchInput(
      {
        button: (button, down, point) => {
          if (down && !active()) return;
          const at = place(point);
          clearTimeout(this.#settle);
          this.#last = at;
          // A finger hides nothing of where the pointer is.
          cursor.showRemote(at);
          const changed = down ? held.pressButton(button) : held.releaseButton(button);
          if (changed) client.sendKeys({ type: "button", slot, button, down, at });
          heldChanged();
        },
        move: (point) => {
          if (!active()) return;
          const at = place(point);
          this.#moveTo(at);
          cursor.showRemote(at);
        },
        turn: (dx, dy) => {
          if (active() && (dx !== 0 || dy !== 0)) client.sendKeys({ type: "wheel", slot, dx, dy });
        },
        pinch: (at, factor, dx, dy) => {
          const changed = magnifier.pinch(at, factor, dx, dy);
          if (changed) viewChanged();
          return changed;
        },
        enlarged: () => magnifier.scale > 1,
      },
      signal,
    );
  }

  #capture(event: PointerEvent): void {
    try {
      this.#context.surface.setPointerCapture(event.pointerId);
    } catch {
      // The pointer was released already.
    }
  }

  #position(event: PointerEvent): Position {
    return toPicture({ x: event.clientX, y: event.clientY }, this.pictureRect(), this.picture());
  }

  #pressed(event: PointerEvent): void {
    const { client, slot, held } = this.#context;
    const after = event.type === "pointercancel" ? 0 : event.buttons;
    const changes = buttonChanges(this.#buttons, after);
    this.#buttons = after;
    const at = this.locked ? null : this.#position(event);
    if (at !== null) this.#last = at;
    clearTimeout(this.#settle);
    for (const { button, down } of changes) {
      const changed = down ? held.pressButton(button) : held.releaseButton(button);
      if (changed) {
        client.sendKeys({ type: "button", slot, button, down, ...(at === null ? {} : { at }) });
      }
    }
    this.#context.heldChanged();
  }

  #touched(event: PointerEvent, down: boolean): void {
    const { client, slot, held } = this.#context;
    const touch = event.pointerId;
    const changed = down ? held.pressTouch(touch) : held.releaseTouch(touch);
    if (changed) client.sendKeys({ type: "touch", slot, touch, down, at: this.#position(event) });
    this.#context.heldChanged();
  }

  #touchMoved(event: PointerEvent): void {
    const { client, slot } = this.#context;
    client.sendMotion({ type: "touch", slot, touch: event.pointerId, at: this.#position(event) });
  }

  #moved(event: PointerEvent): void {
    this.#context.cursor.hideRemote();
    this.#moveTo(this.#position(event));
  }

  #moveTo(at: Position): void {
    if (at.x === this.#last?.x && at.y === this.#last.y) return;
    this.#last = at;
    this.#lastSent = performance.now();
    const { client, slot } = this.#context;
    client.sendMotion({ type: "pointer", slot, at });
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      if (this.#context.active()) client.sendMotion({ type: "pointer", slot, at });
    }, SETTLE_MS);
  }

  #movedBy(event: PointerEvent): void {
    if (event.movementX === 0 && event.movementY === 0) return;
    this.#total = { x: this.#total.x + event.movementX, y: this.#total.y + event.movementY };
    const { client, slot } = this.#context;
    client.sendMotion({ type: "relative", slot, totalX: this.#total.x, totalY: this.#total.y });
  }

  #turned(event: WheelEvent): void {
    const { dx, dy } = this.#wheel.notches(event);
    if (dx === 0 && dy === 0) return;
    const { client, slot } = this.#context;
    client.sendKeys({ type: "wheel", slot, dx, dy });
  }
}
