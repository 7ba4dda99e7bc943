import { useCallback, useEffect, useState } from "react";

type KeyboardLock = { lock?: () => Promise<void>; unlock?: () => void };

/** Full screen of an element, with the keys that the browser would keep for itself, where it lets us. */
export function useFullscreen(element: HTMLElement | null): {
  /** Whether the browser supports it here: on iPhones and in some frames it does not. */
  readonly possible: boolean;
  readonly fullscreen: boolean;
  readonly toggle: () => void;
} {
  const [fullscreen, setFullscreen] = useState(false);
  useEffect(() => {
    const changed = (): void => {
      const on = document.fullscreenElement !== null;
      setFullscreen(on);
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
  const possible = canFill(document);
  const toggle = useCallback(() => {
    if (!possible) return;
    const change =
      document.fullscreenElement === null
        ? element?.requestFullscreen({ navigationUI: "hide" })
        : document.exitFullscreen();
    // Refused where the page is embedded without the permission: it stays as it is.
    change?.catch(() => undefined);
  }, [element, possible]);
  return { possible, fullscreen, toggle };
}

/** Whether a document can fill the screen; absent where the browser lacks the API. */
export function canFill(page: Partial<Pick<Document, "fullscreenEnabled">>): boolean {
  return page.fullscreenEnabled === true;
}
