import { useCallback, useEffect, useState } from "react";

type KeyboardLock = { lock?: () => Promise<void>; unlock?: () => void };

export type Fullscreen = {
  /**
   * What this browser can do: all of the screen, or, on iPhones and in frames without the permission, all of the window: nothing of the
   * page's beside the picture.
   */
  readonly kind: "screen" | "window";
  readonly on: boolean;
  readonly toggle: () => void;
};

/** Full screen of an element, with the keys that the browser would keep for itself, where it lets us. */
export function useFullscreen(element: HTMLElement | null): Fullscreen {
  const [screen, setScreen] = useState(false);
  const [whole, setWhole] = useState(false);
  useEffect(() => {
    const changed = (): void => {
      const on = document.fullscreenElement !== null;
      setScreen(on);
      // Only Chromium supports it; there, Escape has to be held to leave.
      const { keyboard } = navigator as Navigator & { keyboard?: KeyboardLock };
      if (on) keyboard?.lock?.().catch(() => undefined);
      else keyboard?.unlock?.();
    };
    document.addEventListener("fullscreenchange", changed);
    return () => {
      document.removeEventListener("fullscreenchange", changed);
    };
  }, []);
  const kind = canFill(document) ? "screen" : "window";
  const toggle = useCallback(() => {
    if (kind === "window") {
      setWhole((on) => !on);
      return;
    }
    const change =
      document.fullscreenElement === null
        ? element?.requestFullscreen({ navigationUI: "hide" })
        : document.exitFullscreen();
    // Refused where the page is embedded without the permission: it stays as it is.
    change?.catch(() => undefined);
  }, [element, kind]);
  return { kind, on: kind === "window" ? whole : screen, toggle };
}

/** Whether a document can fill the screen; absent where the browser lacks the API. */
export function canFill(page: Partial<Pick<Document, "fullscreenEnabled">>): boolean {
  return page.fullscreenEnabled === true;
}
