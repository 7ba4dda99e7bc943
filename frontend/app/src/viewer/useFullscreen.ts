import { useCallback, useEffect, useState } from "react";

type KeyboardLock = { lock?: () => Promise<void>; unlock?: () => void };

/** Full screen of an element, with the keys that the browser would keep for itself, where it lets us. */
export function useFullscreen(element: HTMLElement | null): {
  readonly fullscreen: boolean;
  readonly toggle: () => void;
} {
  const [fullscreen, setFullscreen] = useState(false);
  useEffect(() => {
    const changed = (): void => {
      const on = document.fullscreenElement !== null;
      setFullscreen(on);
      // Only Chromium has it; there Escape has to be held to leave.
      const { keyboard } = navigator as Navigator & { keyboard?: KeyboardLock };
      if (on) keyboard?.lock?.().catch(() => undefined);
      else keyboard?.unlock?.();
    };
    document.addEventListener("fullscreenchange", changed);
    return () => {
      document.removeEventListener("fullscreenchange", changed);
    };
  }, []);
  const toggle = useCallback(() => {
    const change =
      document.fullscreenElement === null
        ? element?.requestFullscreen({ navigationUI: "hide" })
        : document.exitFullscreen();
    // Refused where the page is embedded without the permission: it stays as it is.
    change?.catch(() => undefined);
  }, [element]);
  return { fullscreen, toggle };
}
