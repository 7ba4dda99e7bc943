/** The settings of the page: kept here, and passed to what they affect. */

import type { InputController, KeyboardMode, TouchMode } from "@oriel/client";
import { useEffect, useState } from "react";
import { keep, kept } from "../ui/kept";
import type { Views } from "./views";

const VOLUME_KEY = "oriel.volume";

/** How a picture is enlarged. */
export type Scaling = "smooth" | "sharp";

export type Settings = {
  readonly muted: boolean;
  readonly setMuted: (muted: boolean) => void;
  /** From 0 to 1; this browser keeps it. */
  readonly volume: number;
  readonly setVolume: (volume: number) => void;
  readonly watchOnly: boolean;
  readonly setWatchOnly: (watchOnly: boolean) => void;
  readonly keyboardMode: KeyboardMode;
  readonly setKeyboardMode: (mode: KeyboardMode) => void;
  readonly touchMode: TouchMode;
  readonly setTouchMode: (mode: TouchMode) => void;
  /** Slots besides the main one are shown in a row below it. */
  readonly thumbnails: boolean;
  readonly setThumbnails: (thumbnails: boolean) => void;
  readonly scaling: Scaling;
  readonly setScaling: (scaling: Scaling) => void;
  readonly statsShown: boolean;
  readonly setStatsShown: (shown: boolean) => void;
};

/** @param takesTouch the main view takes touches as such; otherwise they stand for a mouse. */
export function useSettings(views: Views, input: InputController | null, takesTouch: boolean): Settings {
  const [muted, setMuted] = useState(true);
  const [volume, setVolume] = useState(() => volumeOf(kept(VOLUME_KEY)));
  const [watchOnly, setWatchOnly] = useState(false);
  const [keyboardMode, setKeyboardMode] = useState<KeyboardMode>("physical");
  const [touchMode, setTouchMode] = useState<TouchMode>("mouse");
  const [thumbnails, setThumbnails] = useState(true);
  const [scaling, setScaling] = useState<Scaling>("smooth");
  const [statsShown, setStatsShown] = useState(false);
  useEffect(() => {
    views.setMuted(muted);
  }, [views, muted]);
  useEffect(() => {
    views.setVolume(volume);
  }, [views, volume]);
  useEffect(() => {
    if (input !== null) apply(input, !watchOnly, keyboardMode, takesTouch ? touchMode : "mouse");
  }, [input, watchOnly, keyboardMode, touchMode, takesTouch]);
  return {
    muted,
    setMuted,
    volume,
    setVolume: (wanted) => {
      setVolume(wanted);
      keep(VOLUME_KEY, String(wanted));
    },
    watchOnly,
    setWatchOnly,
    keyboardMode,
    setKeyboardMode,
    touchMode,
    setTouchMode,
    thumbnails,
    setThumbnails,
    scaling,
    setScaling,
    statsShown,
    setStatsShown,
  };
}

/** What was kept, if it is a volume; else all of it. Pure. */
export function volumeOf(text: string | null): number {
  const volume = text === null || text === "" ? 1 : Number(text);
  return volume >= 0 && volume <= 1 ? volume : 1;
}

/** A separate function, as a hook may not assign to its arguments. */
function apply(input: InputController, enabled: boolean, keyboard: KeyboardMode, touch: TouchMode): void {
  input.enabled = enabled;
  input.keyboardMode = keyboard;
  input.touchMode = touch;
}
