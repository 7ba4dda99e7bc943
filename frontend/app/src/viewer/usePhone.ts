/** Hooks for phones and tablets: the on-screen keyboard, the area that it leaves free, and a screen that stays on. */

import type { InputController, OrielClient, StreamInfo, Sticky } from "@oriel/client";
import { useEffect, useState } from "react";

/** Fingers can touch this screen. */
export const TOUCH_SCREEN = navigator.maxTouchPoints > 0;

/** An on-screen keyboard is higher than bars that come and go; CSS pixels. */
const KEYBOARD_PX = 120;

export type ScreenKeyboard = {
  readonly open: boolean;
  readonly toggle: () => void;
  readonly modifiers: Sticky;
};

const NONE: Sticky = new Map();

/** The on-screen keyboard of an input, and the modifiers that are tapped beside it. */
export function useScreenKeyboard(input: InputController | null): ScreenKeyboard {
  const [of, setOf] = useState<{ readonly input: InputController; readonly open: boolean; readonly modifiers: Sticky } | null>(null);
  useEffect(() => {
    if (input === null) return undefined;
    const update = (): void => {
      setOf({ input, open: input.screenKeyboard, modifiers: input.modifiers });
    };
    const stops = [input.on("screen-keyboard", update), input.on("modifiers", update)];
    return () => {
      stops.forEach((stop) => {
        stop();
      });
    };
  }, [input]);
  const current = of !== null && of.input === input ? of : null;
  return {
    open: current?.open ?? false,
    modifiers: current?.modifiers ?? NONE,
    toggle: () => {
      if (input !== null) flip(input);
    },
  };
}

/** A separate function, as a hook may not assign to its arguments. */
function flip(input: InputController): void {
  input.screenKeyboard = !input.screenKeyboard;
}

function close(input: InputController): void {
  input.screenKeyboard = false;
}

/**
 * Keeps an element in the part of the window that an on-screen keyboard leaves free, and notices when the keyboard is closed by other
 * means than the page's.
 * @param open the keyboard is wanted.
 */
export function useFreeArea(element: HTMLElement | null, input: InputController | null, open: boolean): void {
  useEffect(() => {
    const viewport = window.visualViewport;
    if (!open || element === null || viewport === null) return undefined;
    const full = viewport.height;
    let seen = false;
    const fit = (): void => {
      // A page that is enlarged shows a part of itself: that is not the keyboard's doing.
      if (viewport.scale > 1.01) return;
      const covered = full - viewport.height > KEYBOARD_PX;
      if (seen && !covered && input !== null) close(input);
      seen = covered;
      place(element, covered ? viewport : null);
    };
    fit();
    viewport.addEventListener("resize", fit);
    viewport.addEventListener("scroll", fit);
    return () => {
      viewport.removeEventListener("resize", fit);
      viewport.removeEventListener("scroll", fit);
      place(element, null);
    };
  }, [element, input, open]);
}

/** Null: the whole window. */
function place(element: HTMLElement, free: VisualViewport | null): void {
  element.style.height = free === null ? "" : `${free.height}px`;
  element.style.top = free === null ? "" : `${free.offsetTop}px`;
}

/** Keeps the screen of a phone on while something is watched. Browsers take the lock when the page is hidden; it is asked for again. */
export function useWakeLock(watching: boolean): void {
  useEffect(() => {
    if (!watching || !TOUCH_SCREEN || !("wakeLock" in navigator)) return undefined;
    let lock: WakeLockSentinel | null = null;
    const left = new AbortController();
    const ask = (): void => {
      if (document.visibilityState !== "visible" || lock?.released === false) return;
      navigator.wakeLock.request("screen").then(
        (granted) => {
          if (left.signal.aborted) void granted.release();
          else lock = granted;
        },
        // Refused with an almost empty battery, or in some frames: the screen goes off as it would anyway.
        () => undefined,
      );
    };
    ask();
    document.addEventListener("visibilitychange", ask, { signal: left.signal });
    return () => {
      left.abort();
      void lock?.release();
    };
  }, [watching]);
}

/** Whether what a slot shows takes touches as such: Moonlight hosts do, X servers do not. Asked once for each source. */
export function useTakesTouch(client: OrielClient, info: StreamInfo | null): boolean {
  const name = TOUCH_SCREEN && info?.input === true ? info.source : null;
  const [taking, setTaking] = useState<string | null>(null);
  useEffect(() => {
    if (name === null) return undefined;
    const stop = new AbortController();
    client.api.sources(client.streamerId, { signal: stop.signal }).then(
      (sources) => {
        const takes = sources.some((source) => source.name === name && source.source.type === "moonlight");
        setTaking(takes ? name : null);
      },
      // Not allowed or not reached: fingers stay the mouse, which works everywhere.
      () => undefined,
    );
    return () => {
      stop.abort();
    };
  }, [client, name]);
  return name !== null && taking === name;
}
