/** Where something can stand on the page without covering the picture. */

import type { StreamInfo } from "@oriel/client";
import { useEffect, useState } from "react";

type Size = { readonly width: number; readonly height: number };

/** Decides what fits into the bars that a picture leaves free: an icon with its text, the icon alone, or nothing. */
export type Room = "text" | "icon" | "none";

/** CSS pixels of a button with an icon and a few words, with the space around it; as in `.sound-offer`. */
const TEXT: Size = { width: 180, height: 56 };
/** The same with the icon alone. */
const ICON_WIDTH = 56;

/** The room in the bars beside or below a picture that is centred in an area, as large as it can be. Pure. */
export function roomAround(area: Size, picture: Size): Room {
  const scale = Math.min(area.width / picture.width, area.height / picture.height);
  const beside = (area.width - picture.width * scale) / 2;
  const below = (area.height - picture.height * scale) / 2;
  if (below >= TEXT.height || beside >= TEXT.width) return "text";
  return beside >= ICON_WIDTH ? "icon" : "none";
}

/** The room around the picture of a slot in an element, as both change. None while it is not known. */
export function useRoom(element: HTMLElement | null, info: StreamInfo | null): Room {
  const [area, setArea] = useState<Size | null>(null);
  useEffect(() => {
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => {
      setArea({ width: element.clientWidth, height: element.clientHeight });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, [element]);
  const width = info?.width ?? null;
  const height = info?.height ?? null;
  if (area === null || width === null || height === null) return "none";
  return roomAround(area, { width, height });
}
