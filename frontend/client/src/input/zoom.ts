/** What a viewer sees of a picture that is enlarged for them alone. Pure; it survives a change of the box, such as a turned phone. */

import { containedRect, type Rect, type Size } from "./geometry";

export type Zoom = {
  /** 1: the whole picture. */
  readonly scale: number;
  /** The place of the picture in the middle of the box, from 0 to 1. */
  readonly x: number;
  readonly y: number;
};

/** The picture's own place and how far it is moved and enlarged from there, about the top left corner of the box. */
export type Placement = { readonly scale: number; readonly left: number; readonly top: number };

export const WHOLE: Zoom = { scale: 1, x: 0.5, y: 0.5 };

const LEAST = 0.1;
const MOST = 8;
/** Less is meant to be the whole picture. */
const SNAP = 1.03;

/** How an enlarged picture is placed in its box, without empty edges where it is larger than the box. */
export function placementOf(zoom: Zoom, box: Size, picture: Size): Placement {
  const rect = fitted(box, picture);
  const along = (start: number, length: number, room: number, centre: number): number => {
    const wanted = room / 2 - (start + centre * length) * zoom.scale;
    const size = length * zoom.scale;
    // Where it is smaller than the box it is in the middle.
    if (size <= room) return (room - size) / 2 - start * zoom.scale;
    return Math.min(Math.max(wanted, room - size - start * zoom.scale), -start * zoom.scale);
  };
  return {
    scale: zoom.scale,
    left: along(rect.left, rect.width, box.width, zoom.x),
    top: along(rect.top, rect.height, box.height, zoom.y),
  };
}

/**
 * After a pinch or a slide: enlarged by `factor`, with what was at `from` now at `to`, as far as that leaves no empty edges. Both are
 * relative to the box.
 */
export function zoomed(
  zoom: Zoom,
  { factor, from, to }: { readonly factor: number; readonly from: Point; readonly to: Point },
  box: Size,
  picture: Size,
): Zoom {
  const rect = fitted(box, picture);
  if (rect.width <= 0 || rect.height <= 0) return zoom;
  const scale = Math.min(Math.max(zoom.scale * factor, 1), MOST);
  if (scale < SNAP && factor <= 1) return WHOLE;
  const before = placementOf(zoom, box, picture);
  const along = (moved: number, start: number, length: number, room: number, was: number, is: number): number => {
    const fraction = ((was - moved) / zoom.scale - start) / length;
    return fraction + (room / 2 - is) / (length * scale);
  };
  const wanted = {
    scale,
    x: along(before.left, rect.left, rect.width, box.width, from.x, to.x),
    y: along(before.top, rect.top, rect.height, box.height, from.y, to.y),
  };
  // What is kept is what is shown, so that the way back begins at once.
  const after = placementOf(wanted, box, picture);
  return {
    scale,
    x: (box.width / 2 - after.left - rect.left * scale) / (rect.width * scale),
    y: (box.height / 2 - after.top - rect.top * scale) / (rect.height * scale),
  };
}

/** A scale that a picture can be shown with. */
export function bounded(scale: number): number {
  return Math.min(Math.max(scale, LEAST), MOST);
}

/** The scale at which a pixel of the picture is one of the screen; 1 while its size is not known. */
export function nativeScale(box: Size, picture: Size, devicePixelRatio: number): number {
  const { width } = fitted(box, picture);
  return picture.width <= 0 || width <= 0 ? 1 : bounded(picture.width / width / devicePixelRatio);
}

type Point = { readonly x: number; readonly y: number };

function fitted(box: Size, picture: Size): Rect {
  return containedRect({ left: 0, top: 0, ...box }, picture);
}
