/**
 * Keyboard of one slot: key events, text of input methods and on-screen keyboards, and pasting.
 *
 * A hidden text area has the focus, because input methods write only into elements that accept text.
 */

import type { InputClient } from "../view";
import { type ClipboardBridge, pastedFrom } from "./clipboard";
import type { Held, Release } from "./held";
import { decideKeyDown, isPaste, type KeyboardMode, type Locks, locksOf, type Press, typedPieces } from "./keys";
import { codeOf, type Sticky, type StickyModifier, StickyModifiers } from "./sticky";
import { diffArea, FILLER } from "./text";

/** A longer text is forgotten between two words of an on-screen keyboard. */
const AREA_MOST = 400;
/** Windows reports AltGr as ControlLeft followed by AltRight within this time. */
const ALT_GRAPH_MS = 30;

export type KeyboardContext = {
  readonly client: InputClient;
  readonly slot: number;
  readonly held: Held;
  readonly clipboard: ClipboardBridge;
  readonly active: () => boolean;
  readonly heldChanged: () => void;
  /** The viewer wants to leave the picture by keyboard. */
  readonly escaped: () => void;
  /** Other modifiers are down by taps. */
  readonly modifiersChanged: (modifiers: Sticky) => void;
};

export class KeyboardInput {
  mode: KeyboardMode;
  readonly #context: KeyboardContext;
  readonly #area: HTMLTextAreaElement;
  readonly #sticky = new StickyModifiers();
  /** An on-screen keyboard writes into the area; what it changes there is typed. */
  #onScreen = false;
  /** The content of the area as it has been typed; of use while {@link #onScreen}. */
  #typed = FILLER;
  /** The focus is taken and given back, for the browser to look at the area again. */
  #refocusing = false;
  #controlPressedAt = 0;
  /** The locks that were last sent to the session, unless something may have changed them since. */
  #locks: Locks = { caps: null, num: null };
  /** A paste key that waits for its paste event. */
  #pendingPaste: ReturnType<typeof setTimeout> | undefined;
  #pendingPress: (() => void) | null = null;
  /** Keys from a paste key on, while the picture that it pastes is on its way to the session; null: none is. */
  #deferred: (() => void)[] | null = null;

  constructor(surface: HTMLElement, context: KeyboardContext, mode: KeyboardMode, signal: AbortSignal, label = LABEL) {
    this.#context = context;
    this.mode = mode;
    this.#area = makeTextArea(label);
    surface.append(this.#area);
    this.#listen(signal);
    signal.addEventListener("abort", () => {
      clearTimeout(this.#pendingPaste);
      this.#area.remove();
    });
  }

  get focused(): boolean {
    return document.activeElement === this.#area;
  }

  focus(): void {
    this.#area.focus({ preventScroll: true });
  }

  get onScreen(): boolean {
    return this.#onScreen;
  }

  /** Whether an on-screen keyboard shall open; without that the focus alone opens none. */
  setOnScreen(wanted: boolean): void {
    this.#onScreen = wanted;
    this.#area.inputMode = wanted ? "text" : "none";
    this.#resetArea();
    if (!wanted && !this.focused) return;
    // Browsers look at the mode when the focus comes.
    this.#refocusing = true;
    this.#area.blur();
    this.focus();
    this.#refocusing = false;
  }

  get modifiers(): Sticky {
    return this.#sticky.states;
  }

  tapModifier(modifier: StickyModifier): void {
    if (!this.#context.active()) return;
    if (this.#sticky.tap(modifier, performance.now())) this.#press(modifier, { kind: "code", code: modifier });
    else this.#releaseCode(modifier);
    this.#context.modifiersChanged(this.#sticky.states);
  }

  tapKey(code: string): void {
    if (!this.#context.active()) return;
    this.#tap(code);
    // Where the cursor of the session is now, nobody here knows.
    if (this.#onScreen) this.#resetArea();
    this.#usedModifiers();
  }

  /** Releases the modifiers that taps have put down. */
  releaseModifiers(): void {
    for (const modifier of this.#sticky.states.keys()) this.#releaseCode(modifier);
    this.forgetModifiers();
  }

  /** All that was held is released by other means. */
  forgetModifiers(): void {
    if (!this.#sticky.any) return;
    this.#sticky.clear();
    this.#context.modifiersChanged(this.#sticky.states);
  }

  onFocusChange(handle: (focused: boolean) => void, signal: AbortSignal): void {
    this.#area.addEventListener(
      "focus",
      () => {
        if (!this.#refocusing) handle(true);
      },
      { signal },
    );
    this.#area.addEventListener(
      "blur",
      () => {
        if (!this.#refocusing) handle(false);
      },
      { signal },
    );
  }

  #listen(signal: AbortSignal): void {
    const area = this.#area;
    area.addEventListener(
      "keydown",
      (event) => {
        this.#down(event);
      },
      { signal },
    );
    area.addEventListener(
      "focus",
      () => {
        this.#locks = { caps: null, num: null };
      },
      { signal },
    );
    area.addEventListener(
      "keyup",
      (event) => {
        this.#up(event);
      },
      { signal },
    );
    area.addEventListener(
      "paste",
      (event) => {
        this.#pasted(event);
      },
      { signal },
    );
    area.addEventListener(
      "beforeinput",
      (event) => {
        this.#edited(event);
      },
      { signal },
    );
    area.addEventListener(
      "compositionend",
      (event) => {
        if (this.#onScreen) {
          this.#follow();
          return;
        }
        this.#type(event.data);
        this.#resetArea();
      },
      { signal },
    );
    area.addEventListener(
      "input",
      (event) => {
        if (this.#onScreen) {
          this.#follow();
          if (!event.isComposing && this.#typed.length > AREA_MOST) this.#resetArea();
        } else if (!event.isComposing) this.#resetArea();
      },
      { signal },
    );
    for (const type of ["copy", "cut", "drop"]) {
      area.addEventListener(
        type,
        (event) => {
          event.preventDefault();
        },
        { signal },
      );
    }
  }

  #down(event: KeyboardEvent): void {
    if (this.#defer(event, () => { this.#down(event); })) return;
    if (!this.#context.active()) return;
    if (isEscapeChord(event)) {
      event.preventDefault();
      this.#context.escaped();
      return;
    }
    // What it does to the area is followed instead: many on-screen keyboards tell wrong keys, or none.
    if (this.#onScreen && writes(event)) return;
    const decision = decideKeyDown(event, this.mode);
    if (decision.kind === "leave") return;
    if (decision.kind !== "swallow" && isPaste(event)) {
      // Not prevented: the browser answers it with a paste event, which brings the text.
      this.#flushPaste();
      this.#pendingPress = () => {
        this.#press(event.code, decision);
      };
      this.#pendingPaste = setTimeout(() => {
        this.#flushPaste();
      });
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (decision.kind === "swallow") return;
    this.#flushPaste();
    this.#separateAltGraph(event);
    if (decision.kind === "code") this.#followLocks(event);
    this.#press(event.code, decision);
  }

  #up(event: KeyboardEvent): void {
    if (this.#defer(event, () => { this.#up(event); })) return;
    this.#flushPaste();
    const { held } = this.#context;
    if (!held.holdsKey(event.code)) return;
    event.preventDefault();
    const release = held.releaseKey(event.code);
    if (release !== null) this.#release(release);
    if (event.key === "Meta")
      held.releaseAllButModifiers().forEach((other) => {
        this.#release(other);
      });
    this.#context.heldChanged();
    if (!isModifier(event.code)) this.#usedModifiers();
  }

  #press(code: string, press: Press): void {
    const { client, slot, held } = this.#context;
    if (!held.pressKey(code, press)) return;
    if (code === "ControlLeft") this.#controlPressedAt = performance.now();
    client.sendKeys(
      press.kind === "code"
        ? { type: "key", slot, code: press.code, down: true }
        : { type: "char", slot, char: press.char, down: true },
    );
    this.#context.heldChanged();
  }

  /** Another viewer may have typed meanwhile, so the locks are sent again with the first key that they affect after the focus has returned. */
  #followLocks(event: KeyboardEvent): void {
    if (event.code === "CapsLock" || event.code === "NumLock") {
      this.#locks = { caps: null, num: null };
      return;
    }
    const now = locksOf(event);
    const caps = now.caps === this.#locks.caps ? null : now.caps;
    const num = now.num === this.#locks.num ? null : now.num;
    if (caps === null && num === null) return;
    const { client, slot } = this.#context;
    const sent = client.sendKeys({
      type: "locks",
      slot,
      ...(caps === null ? {} : { caps }),
      ...(num === null ? {} : { num }),
    });
    if (sent) this.#locks = { caps: now.caps ?? this.#locks.caps, num: now.num ?? this.#locks.num };
  }

  #release(release: Release): void {
    const { client, slot } = this.#context;
    client.sendKeys(
      release.kind === "code"
        ? { type: "key", slot, code: release.code, down: false }
        : { type: "char", slot, char: release.char, down: false },
    );
  }

  /** Releases the ControlLeft that Windows adds for AltGr. */
  #separateAltGraph(event: KeyboardEvent): void {
    if (event.code !== "AltRight" || event.key !== "AltGraph") return;
    if (performance.now() - this.#controlPressedAt > ALT_GRAPH_MS) return;
    const control = this.#context.held.releaseKey("ControlLeft");
    if (control !== null) this.#release(control);
  }

  #pasted(event: ClipboardEvent): void {
    event.preventDefault();
    if (!this.#context.active()) return;
    const sending = this.#context.clipboard.pasted(pastedFrom(event.clipboardData));
    if (sending === null) {
      this.#flushPaste();
      return;
    }
    clearTimeout(this.#pendingPaste);
    this.#deferred = [...(this.#deferred ?? []), ...(this.#pendingPress === null ? [] : [this.#pendingPress])];
    this.#pendingPress = null;
    void sending.finally(() => {
      const keys = this.#deferred ?? [];
      this.#deferred = null;
      // If the focus was lost meanwhile, nothing is held any more.
      if (this.focused) for (const key of keys) key();
    });
  }

  /** True when a key has to wait for a paste before it. */
  #defer(event: KeyboardEvent, handle: () => void): boolean {
    if (this.#deferred === null) return false;
    event.preventDefault();
    this.#deferred.push(handle);
    return true;
  }

  #flushPaste(): void {
    clearTimeout(this.#pendingPaste);
    const press = this.#pendingPress;
    this.#pendingPress = null;
    press?.();
  }

  /** Text that comes without keys: from on-screen keyboards, dictation, an emoji picker. */
  #edited(event: InputEvent): void {
    // An input method is active; its text comes at the end of the composition.
    if (event.isComposing || event.inputType === "insertCompositionText") return;
    const isBreak = event.inputType === "insertLineBreak" || event.inputType === "insertParagraph";
    if (this.#onScreen && !isBreak && this.#context.active()) return;
    event.preventDefault();
    if (!this.#context.active()) return;
    switch (event.inputType) {
      case "insertText":
      case "insertReplacementText":
        this.#type(event.data ?? "");
        break;
      case "insertLineBreak":
      case "insertParagraph":
        this.tapKey("Enter");
        break;
      case "deleteContentBackward":
        this.#tap("Backspace");
        break;
      case "deleteContentForward":
        this.#tap("Delete");
        break;
      default:
        break;
    }
  }

  /** Types what an on-screen keyboard has changed in the area since. */
  #follow(): void {
    const { value } = this.#area;
    const { backspaces, text } = diffArea(this.#typed, value);
    this.#typed = value;
    if (this.#context.active()) {
      for (let i = 0; i < backspaces; i += 1) this.#tap("Backspace");
      if (backspaces > 0) this.#usedModifiers();
      this.#type(text);
    }
    // With nothing in it there would be no next Backspace.
    if (value === "") this.#resetArea();
  }

  #type(text: string): void {
    if (!this.#context.active()) return;
    const { client, slot } = this.#context;
    let typed = text.replaceAll(FILLER, "");
    const [first] = typed;
    if (first !== undefined && this.#sticky.any) {
      // With a modifier a character is a key. Phones begin sentences with a capital, which is not meant here.
      const code = codeOf(first);
      if (code === null) this.#tapCharacter(first);
      else this.#tap(code);
      this.#usedModifiers();
      typed = typed.slice(first.length);
    }
    for (const piece of typedPieces(typed)) client.sendKeys({ type: "text", slot, text: piece });
  }

  /** Types a text, whatever modifiers are down by taps. */
  type(text: string): void {
    if (!this.#context.active()) return;
    const { client, slot } = this.#context;
    const lines = text.replaceAll("\r\n", "\n").split("\n");
    for (const [at, line] of lines.entries()) {
      if (at > 0) this.#tap("Enter");
      for (const piece of typedPieces(line)) client.sendKeys({ type: "text", slot, text: piece });
    }
  }

  tapTogether(codes: readonly string[]): void {
    if (!this.#context.active()) return;
    const { client, slot } = this.#context;
    for (const code of codes) client.sendKeys({ type: "key", slot, code, down: true });
    for (const code of [...codes].reverse()) client.sendKeys({ type: "key", slot, code, down: false });
  }

  #tap(code: string): void {
    const { client, slot } = this.#context;
    client.sendKeys({ type: "key", slot, code, down: true });
    client.sendKeys({ type: "key", slot, code, down: false });
  }

  #tapCharacter(char: string): void {
    const { client, slot } = this.#context;
    client.sendKeys({ type: "char", slot, char, down: true });
    client.sendKeys({ type: "char", slot, char, down: false });
  }

  #releaseCode(code: string): void {
    const release = this.#context.held.releaseKey(code);
    if (release !== null) this.#release(release);
    this.#context.heldChanged();
  }

  /** A key has been pressed: modifiers that were tapped for one key are released. */
  #usedModifiers(): void {
    const used = this.#sticky.used();
    if (used.length === 0) return;
    for (const modifier of used) this.#releaseCode(modifier);
    this.#context.modifiersChanged(this.#sticky.states);
  }

  #resetArea(): void {
    this.#typed = FILLER;
    this.#area.value = FILLER;
    this.#area.setSelectionRange(1, 1);
  }
}

/** Ctrl+Alt+Shift+T: back to the page, for users without a pointer. */
function isEscapeChord(event: KeyboardEvent): boolean {
  return event.ctrlKey && event.altKey && event.shiftKey && event.code === "KeyT";
}

/** Whether a key changes the text area: characters and Backspace that are not part of a shortcut. */
function writes(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.altKey || event.metaKey) return false;
  return Array.from(event.key).length === 1 || event.key === "Backspace";
}

function isModifier(code: string): boolean {
  return /^(Shift|Control|Alt|Meta|OS)/.test(code);
}

/** Names the text area unless the page does. */
const LABEL = "Keyboard of the session. Ctrl+Alt+Shift+T leads to the toolbar.";

function makeTextArea(label: string): HTMLTextAreaElement {
  const area = document.createElement("textarea");
  area.value = FILLER;
  area.dataset.testid = "keyboard";
  area.setAttribute("aria-label", label);
  for (const name of ["autocomplete", "autocorrect", "autocapitalize"]) area.setAttribute(name, "off");
  area.spellcheck = false;
  // On a phone the focus alone would cover half of the picture with a keyboard.
  if (navigator.maxTouchPoints > 0) area.inputMode = "none";
  Object.assign(area.style, {
    position: "absolute",
    left: "50%",
    top: "50%",
    width: "1px",
    height: "1px",
    padding: "0",
    border: "0",
    opacity: "0",
    resize: "none",
    pointerEvents: "none",
    // Smaller letters make phones zoom in.
    fontSize: "16px",
  });
  return area;
}
