/**
 * Input of one slot, from the element that shows it. Owns what is held, when its snapshot is due, and
 * who has the focus; the parts (keyboard, pointer, cursor, clipboard) translate DOM events.
 *
 * Its surface is the parent of the video: there it listens to the pointer, and there the cursor is
 * drawn and the hidden text area for the keyboard is put. The surface must be positioned.
 */

import { Emitter, type EventSource, type Listener, type ListenOptions } from "../events";
import { HELD_REPEAT_MS } from "../generated/constants";
import type { InputClient } from "../view";
import { ClipboardBridge, type ClipboardCopy, type ClipboardOutcome } from "./clipboard";
import { CursorView } from "./cursor";
import type { GamepadContext, GamepadInput } from "./gamepads";
import { Held } from "./held";
import { KeyboardInput } from "./keyboard";
import type { KeyboardMode } from "./keys";
import { Magnifier } from "./magnifier";
import { PointerInput, type TouchMode } from "./pointer";
import type { Sticky, StickyModifier } from "./sticky";

export type InputOptions = {
  readonly slot: number;
  readonly keyboardMode?: KeyboardMode;
  readonly touchMode?: TouchMode;
  /** Names the field that takes the keyboard, for screen readers, and how it is left: Ctrl+Alt+Shift+T. */
  readonly keyboardLabel?: string;
};

export type InputEvents = {
  /** Something was copied in the session, and the browser did not let us write it: offer it to the viewer. */
  "clipboard-offered": ClipboardCopy;
  /** The viewer pressed the keys that lead out of the picture. */
  escaped: undefined;
  /** The keyboard goes to the session, or no longer. */
  focus: boolean;
  /** The pointer is locked to the picture, or no longer. */
  locked: boolean;
  /** The on-screen keyboard is wanted, or no longer. */
  "screen-keyboard": boolean;
  /** {@link InputController.modifiers} has changed. */
  modifiers: Sticky;
};

export class InputController implements EventSource<InputEvents> {
  readonly #client: InputClient;
  readonly #slot: number;
  readonly #video: HTMLVideoElement;
  readonly #surface: HTMLElement;
  readonly #events = new Emitter<InputEvents>();
  readonly #stop = new AbortController();
  readonly #held = new Held();
  readonly #cursor: CursorView;
  readonly #pointer: PointerInput;
  readonly #keyboard: KeyboardInput;
  readonly #clipboard: ClipboardBridge;
  /** Null while none is connected. */
  #gamepads: GamepadInput | null = null;
  readonly #magnifier: Magnifier;
  #enabled = true;
  #repeat: ReturnType<typeof setInterval> | undefined;

  constructor(client: InputClient, video: HTMLVideoElement, options: InputOptions) {
    const surface = video.parentElement;
    if (surface === null) throw new TypeError("the video has no parent element");
    this.#client = client;
    this.#slot = options.slot;
    this.#video = video;
    this.#surface = surface;
    surface.style.touchAction = "none";
    this.#cursor = new CursorView(surface);
    this.#clipboard = new ClipboardBridge({
      send: (message) => client.sendKeys(message),
      drained: () => client.keysDrained(),
      picture: () => client.api.clipboardPicture(client.streamerId),
    });
    // The pointer knows the size of the picture, and is made after it.
    this.#magnifier = new Magnifier(surface, video, () => this.#pointer.picture());
    const shared = {
      client,
      slot: options.slot,
      surface,
      video,
      held: this.#held,
      cursor: this.#cursor,
      magnifier: this.#magnifier,
      clipboard: this.#clipboard,
      active: () => this.#enabled && client.inputOpen,
      focus: () => {
        this.focus();
      },
      heldChanged: () => {
        this.#heldChanged();
      },
      viewChanged: () => {
        this.#layout();
      },
      modifiersChanged: (modifiers: Sticky) => {
        this.#events.emit("modifiers", modifiers);
      },
      escaped: () => {
        this.releaseAll();
        this.#events.emit("escaped", undefined);
      },
    };
    const { signal } = this.#stop;
    this.#pointer = new PointerInput(shared, signal);
    this.#pointer.touchMode = options.touchMode ?? "mouse";
    this.#awaitGamepads(shared, signal);
    this.#keyboard = new KeyboardInput(surface, shared, options.keyboardMode ?? "physical", signal, options.keyboardLabel);
    this.#listenToClient(signal);
    this.#listenToPage(signal);
    const shape = client.cursorShape(options.slot);
    if (shape !== undefined) this.#cursor.setShape(shape);
    this.#layout();
  }

  on<K extends keyof InputEvents>(
    type: K,
    listener: Listener<InputEvents[K]>,
    options?: ListenOptions,
  ): () => void {
    return this.#events.on(type, listener, options);
  }

  get keyboardMode(): KeyboardMode {
    return this.#keyboard.mode;
  }

  set keyboardMode(mode: KeyboardMode) {
    if (mode === this.#keyboard.mode) return;
    this.releaseAll();
    this.#keyboard.mode = mode;
  }

  /** How touches are sent to the session. */
  get touchMode(): TouchMode {
    return this.#pointer.touchMode;
  }

  set touchMode(mode: TouchMode) {
    if (mode === this.#pointer.touchMode) return;
    this.releaseAll();
    this.#pointer.touchMode = mode;
  }

  /** False: watch only; everything that is held is released. */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(enabled: boolean) {
    if (enabled === this.#enabled) return;
    if (!enabled) {
      this.releaseAll();
      this.#gamepads?.unplug();
    }
    this.#enabled = enabled;
    this.#layout();
  }

  get locked(): boolean {
    return this.#pointer.locked;
  }

  /** How much larger than it fits the picture is shown; 1: it is not. */
  get zoom(): number {
    return this.#magnifier.scale;
  }

  /** Enlarges the picture around its middle; less than 1 shows it smaller than it fits. */
  set zoom(scale: number) {
    this.#magnifier.setScale(scale);
    this.#layout();
  }

  /** The {@link zoom} at which a pixel of the picture is one of the screen. */
  get nativeZoom(): number {
    return this.#magnifier.nativeScale(window.devicePixelRatio);
  }

  /** Moves an enlarged picture so that a place of it is in the middle, as far as that leaves no empty edges; from 0 to 1. */
  lookAt(x: number, y: number): void {
    this.#magnifier.lookAt(x, y);
    this.#layout();
  }

  /** Shows the whole picture again. */
  resetZoom(): void {
    this.#magnifier.reset();
    this.#layout();
  }

  /** The on-screen keyboard of a phone is wanted. Set it while a click is handled: browsers open it only then. */
  get screenKeyboard(): boolean {
    return this.#keyboard.onScreen;
  }

  set screenKeyboard(wanted: boolean) {
    if (wanted === this.#keyboard.onScreen) return;
    this.#keyboard.setOnScreen(wanted);
    if (!wanted) this.#keyboard.releaseModifiers();
    this.#events.emit("screen-keyboard", wanted);
  }

  /** The modifiers that {@link tapModifier} has put down. */
  get modifiers(): Sticky {
    return this.#keyboard.modifiers;
  }

  /** Puts a modifier down for the next key; a second tap soon after it for all, until the next. */
  tapModifier(modifier: StickyModifier): void {
    this.#keyboard.tapModifier(modifier);
  }

  /** Presses and releases a key, by its place, with the modifiers that are down. */
  tapKey(code: string): void {
    this.#keyboard.tapKey(code);
  }

  /** Presses keys together, by their places, in this order, and releases them the other way round: Ctrl+Alt+Del. */
  tapTogether(codes: readonly string[]): void {
    this.#keyboard.tapTogether(codes);
  }

  /** Types a text, for programs that know no clipboard. A line break is Enter. */
  type(text: string): void {
    this.#keyboard.type(text);
  }

  /** Gives the keyboard to the session. */
  focus(): void {
    this.#keyboard.focus();
  }

  /** Locks the pointer to the picture; it then moves relatively. Needs a click or a key just before. */
  async lockPointer(): Promise<void> {
    this.focus();
    const request = this.#surface.requestPointerLock.bind(this.#surface) as (
      options?: object,
    ) => Promise<void> | undefined;
    await request();
  }

  /** Gives a text to the session's clipboard. */
  giveClipboard(text: string): ClipboardOutcome {
    return this.#clipboard.give(text);
  }

  /** Gives a picture in PNG to the session's clipboard. */
  /** Few have one: what reads it is loaded when it is connected. */
  #awaitGamepads(context: GamepadContext, signal: AbortSignal): void {
    const load = async (): Promise<void> => {
      const { GamepadInput } = await import("./gamepads");
      if (!signal.aborted) this.#gamepads ??= new GamepadInput(context, signal);
    };
    // Where it cannot be loaded, the next event tries again.
    const connected = (): void => {
      load().catch(() => undefined);
    };
    window.addEventListener("gamepadconnected", connected, { signal });
    if (navigator.getGamepads().some((pad) => pad !== null)) connected();
  }

  giveClipboardPicture(png: Blob): Promise<ClipboardOutcome> {
    return this.#clipboard.givePicture(png);
  }

  /** Lets go of everything that is held. */
  releaseAll(): void {
    // Gamepads come to rest by it as well.
    if (!this.#held.empty || this.#gamepads?.any === true) this.#client.sendKeys({ type: "blur" });
    this.#gamepads?.reset();
    this.#forgetHeld();
  }

  /** Ends it: everything is released, listeners and elements are removed. */
  detach(): void {
    this.releaseAll();
    this.#gamepads?.unplug();
    this.#magnifier.reset();
    this.#stop.abort();
    this.#cursor.destroy();
    this.#surface.style.touchAction = "";
    if (this.locked) document.exitPointerLock();
  }

  #listenToClient(signal: AbortSignal): void {
    const client = this.#client;
    client.on(
      "input",
      (open) => {
        // A new connection does not know what was held on the previous one.
        if (!open) this.#forgetHeld();
        this.#layout();
      },
      { signal },
    );
    client.on(
      "slots",
      () => {
        this.#layout();
      },
      { signal },
    );
    client.on(
      "cursor",
      ({ slot, shape }) => {
        if (slot === this.#slot) this.#cursor.setShape(shape);
      },
      { signal },
    );
    client.on(
      "cursor-position",
      ({ slot, at }) => {
        if (slot !== this.#slot) return;
        this.#pointer.movedByOther();
        this.#cursor.showRemote(at);
      },
      { signal },
    );
    client.on(
      "clipboard",
      (copy) => {
        void this.#clipboard.take(copy).then((copied) => {
          if (!copied) this.#events.emit("clipboard-offered", copy);
        });
      },
      { signal },
    );
  }

  #listenToPage(signal: AbortSignal): void {
    const release = (): void => {
      this.releaseAll();
    };
    window.addEventListener("blur", release, { signal });
    document.addEventListener(
      "visibilitychange",
      () => {
        if (document.visibilityState === "hidden") release();
      },
      { signal },
    );
    document.addEventListener(
      "pointerlockchange",
      () => {
        this.#events.emit("locked", this.locked);
      },
      { signal },
    );
    this.#keyboard.onFocusChange((focused) => {
      if (focused) void this.#clipboard.giveIfAllowed();
      else {
        release();
        this.screenKeyboard = false;
      }
      this.#events.emit("focus", focused);
    }, signal);
    window.addEventListener(
      "focus",
      () => {
        if (this.#keyboard.focused) void this.#clipboard.giveIfAllowed();
      },
      { signal },
    );
    const observer = new ResizeObserver(() => {
      this.#layout();
    });
    observer.observe(this.#surface);
    this.#video.addEventListener(
      "resize",
      () => {
        this.#layout();
      },
      { signal },
    );
    signal.addEventListener("abort", () => {
      observer.disconnect();
    });
  }

  #layout(): void {
    this.#magnifier.layout();
    const outer = this.#surface.getBoundingClientRect();
    const rect = this.#pointer.pictureRect();
    const mode = this.#client.slots.get(this.#slot)?.info?.cursor ?? "client";
    const own = { ...rect, left: rect.left - outer.left, top: rect.top - outer.top };
    this.#cursor.layout(own, this.#pointer.picture(), mode);
  }

  #heldChanged(): void {
    if (this.#held.empty) {
      clearInterval(this.#repeat);
      this.#repeat = undefined;
    } else {
      this.#repeat ??= setInterval(() => {
        this.#client.sendKeys({ type: "held", slot: this.#slot, ...this.#held.snapshot() });
      }, HELD_REPEAT_MS);
    }
  }

  #forgetHeld(): void {
    this.#held.clear();
    this.#pointer.reset();
    this.#keyboard.forgetModifiers();
    this.#heldChanged();
  }
}
