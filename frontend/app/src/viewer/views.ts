/**
 * The page's view of the slots: a {@link Screen} for each, one of them in the main view, which gets the
 * input and the sound. Slots whose thumbnail nobody can see are paused.
 *
 * It owns the arrangement. News come from the client, wishes from the page; both change the arrangement by its
 * rules, and subscribers render it.
 */

import type { InputController, OrielClient, StreamInfo } from "@oriel/client";
import { type Arrangement, type ArrangementEvent, arrange, PRESUMED } from "./arrangement";
import { labelOf } from "./label";
import { Screen } from "./screen";
import { t } from "../i18n/words";

/** How long a notice stays. */
const NOTICE_MS = 5_000;

export class Views {
  readonly #client: OrielClient;
  readonly #screens = new Map<number, Screen>();
  readonly #listeners = new Set<() => void>();
  readonly #observer: IntersectionObserver;
  readonly #tiles = new Map<Element, number>();
  #arrangement: Arrangement = PRESUMED;
  #known = false;
  #input: InputController | null = null;
  #inputVideo: HTMLVideoElement | null = null;
  #muted = true;
  #volume = 1;
  #notice: ReturnType<typeof setTimeout> | undefined;

  constructor(client: OrielClient) {
    this.#client = client;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#seen(target, isIntersecting);
    });
    this.#listen();
  }

  get arrangement(): Arrangement {
    return this.#arrangement;
  }

  /** Keyboard, pointer and clipboard of the main view; null while there is none. */
  get input(): InputController | null {
    return this.#input;
  }

  /** The screen of the main view; null while nothing is shared. */
  get main(): Screen | null {
    const { main } = this.#arrangement;
    return main === null ? null : this.screen(main);
  }

  /** The main view shows a picture of the present connection. */
  get hasPicture(): boolean {
    return this.main?.hasPicture ?? false;
  }

  screen(slot: number): Screen {
    const screen =
      this.#screens.get(slot) ??
      new Screen(this.#client, slot, () => {
        this.#attachInput();
        this.#announce();
      });
    screen.setVolume(this.#volume);
    this.#screens.set(slot, screen);
    return screen;
  }

  /** Calls back when anything here has changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Puts a slot into the main view, and gives it the keyboard. */
  pick(slot: number): void {
    this.#handle({ type: "picked", slot });
    this.#input?.focus();
  }

  /** Puts a thumbnail to the place of another. */
  move(slot: number, to: number): void {
    this.#handle({ type: "moved", slot, to });
  }

  follow(on: boolean): void {
    const focused = [...this.#client.slots.values()].find(({ info }) => hasFocus(info))?.slot ?? null;
    this.#handle({ type: "follow", on, focused });
  }

  /** Shows a text for a moment. */
  tell(notice: string): void {
    this.#handle({ type: "told", notice });
  }

  /** Sound of the main view; all others are silent. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#applySound();
  }

  /** @param volume from 0 to 1. */
  setVolume(volume: number): void {
    this.#volume = volume;
    for (const screen of this.#screens.values()) screen.setVolume(volume);
  }

  /** Watches whether a slot's place on the page can be seen, until the returned function is called. */
  watchTile(slot: number, tile: Element): () => void {
    this.#tiles.set(tile, slot);
    this.#observer.observe(tile);
    return () => {
      this.#observer.unobserve(tile);
      this.#tiles.delete(tile);
      // The slot's next content starts as visible.
      if (this.#client.isPaused(slot)) this.#client.resume(slot);
    };
  }

  #listen(): void {
    const client = this.#client;
    client.on("slots", (slots) => {
      if (this.#known || !client.streamsKnown) return;
      this.#known = true;
      const active = [...slots.values()].filter(({ info }) => info !== null);
      this.#handle({ type: "known", slots: active.map(({ slot }) => slot) });
    });
    client.on("slot-activated", ({ slot, info }) => {
      this.#handle({ type: "activated", slot });
      if (hasFocus(info)) this.#handle({ type: "focused", slot });
    });
    client.on("slot-updated", ({ slot, info }) => {
      if (hasFocus(info)) this.#handle({ type: "focused", slot });
    });
    client.on("slot-deactivated", ({ slot, info, reason }) => {
      this.#handle({ type: "deactivated", slot, label: labelOf(info), reason });
    });
  }

  #handle(event: ArrangementEvent): void {
    const before = this.#arrangement;
    const after = arrange(before, event);
    if (after === before) return;
    this.#arrangement = after;
    if (after.notice !== null && after.notice !== before.notice) this.#forgetNoticeLater();
    if (after.main !== before.main) {
      if (after.main !== null && this.#client.isPaused(after.main)) this.#client.resume(after.main);
      this.#attachInput();
      this.#applySound();
    }
    this.#announce();
  }

  #forgetNoticeLater(): void {
    clearTimeout(this.#notice);
    this.#notice = setTimeout(() => {
      this.#handle({ type: "notice-read" });
    }, NOTICE_MS);
  }

  /** The input belongs to the element in the main view: another one, another input. */
  #attachInput(): void {
    const screen = this.main;
    const video = screen?.video ?? null;
    if (video === this.#inputVideo) return;
    // Pressed keys are released where they were pressed.
    this.#input?.detach();
    const idle = document.activeElement === null || document.activeElement === document.body;
    this.#inputVideo = video;
    this.#input =
      screen === null || video === null
        ? null
        : this.#client.attachInput(video, { slot: screen.slot, keyboardLabel: t("keyboard-of-session") });
    if (idle && this.#client.inputOpen) this.#input?.focus();
  }

  #applySound(): void {
    for (const [slot, screen] of this.#screens) {
      screen.setMuted(this.#muted || slot !== this.#arrangement.main);
    }
  }

  #seen(tile: Element, visible: boolean): void {
    const slot = this.#tiles.get(tile);
    if (slot === undefined) return;
    if (visible && this.#client.isPaused(slot)) this.#client.resume(slot);
    else if (!visible && slot !== this.#arrangement.main) this.#client.pause(slot);
  }

  #announce(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Only windows have a focus of their own. */
function hasFocus(info: StreamInfo | null): boolean {
  return info?.isFocused === true && info.windowName !== null;
}
