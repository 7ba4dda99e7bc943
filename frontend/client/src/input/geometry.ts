/** Finds the place of a picture inside its element, and maps points on the page to its pixels. Pure. */

import type { Position } from "../generated";
import type { SlotView } from "../view";

export type Size = { readonly width: number; readonly height: number };
export type Rect = { readonly left: number; readonly top: number } & Size;

/**
 * The size in whose pixels positions in a slot are. What is said of the slot's content counts only while this viewer sees that: its own
 * choice may have another size.
 * @param view undefined: nothing is known of the slot.
 */
export function pictureSize(
  view: Pick<SlotView, "info" | "seen"> | undefined,
  video: Pick<HTMLVideoElement, "videoWidth" | "videoHeight">,
): Size {
  const { info = null, seen = null } = view ?? {};
  const described = seen === null || seen.stream === info?.source ? info : null;
  return { width: described?.width ?? video.videoWidth, height: described?.height ?? video.videoHeight };
}

/** The rectangle that a picture fills in a box with `object-fit: contain`: centred, bars at two sides. */
export function containedRect(box: Rect, picture: Size): Rect {
  if (picture.width <= 0 || picture.height <= 0 || box.width <= 0 || box.height <= 0) return box;
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const width = picture.width * scale;
  const height = picture.height * scale;
  return {
    left: box.left + (box.width - width) / 2,
    top: box.top + (box.height - height) / 2,
    width,
    height,
  };
}

/** The pixel of the picture under a point; beside the picture, the nearest one at its edge. */
export function toPicture(
  point: { readonly x: number; readonly y: number },
  rect: Rect,
  picture: Size,
): Position {
  const along = (at: number, start: number, length: number, pixels: number): number => {
    if (length <= 0 || pixels <= 0) return 0;
    const pixel = ((at - start) / length) * pixels;
    return Math.round(Math.min(Math.max(pixel, 0), pixels - 1) * 100) / 100;
  };
  return {
    x: along(point.x, rect.left, rect.width, picture.width),
    y: along(point.y, rect.top, rect.height, picture.height),
  };
}

/** The point on the page at which a pixel of the picture is. */
export function fromPicture(
  at: Position,
  rect: Rect,
  picture: Size,
): { readonly x: number; readonly y: number } {
  return {
    x: rect.left + (at.x / Math.max(picture.width, 1)) * rect.width,
    y: rect.top + (at.y / Math.max(picture.height, 1)) * rect.height,
  };
}
