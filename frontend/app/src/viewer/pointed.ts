/** Where the others point, how long that is shown, and where on the page. Pure. */

import { containedRect, fromPicture, type Participant, type Pointing, type Rect, type Size } from "@oriel/client";

/** A pointer that rests is shown for so long, and fades in so much more. */
export const SHOWN_MS = 3_000;
export const FADING_MS = 400;

/** White can be read on each: 4.5:1. They belong to people by their peers' ids, in any theme: what is under them is a picture. */
export const COLOURS = ["#1f5fd0", "#0f7a47", "#bd1f2b", "#7b3fb8", "#a1450a", "#00707a", "#b0237f", "#5a611a"] as const;
/** Of programs. */
export const PROGRAM_COLOUR = "#3f4754";

/** The colour of somebody; null: of programs. The same at each viewer. */
export function colourOf(peerId: string | null): string {
  if (peerId === null) return PROGRAM_COLOUR;
  let hash = 0;
  for (const char of peerId) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return COLOURS[hash % COLOURS.length] ?? PROGRAM_COLOUR;
}

export type Pointed = {
  /** Null: programs. */
  readonly peerId: string | null;
  readonly source: string;
  readonly at: { readonly x: number; readonly y: number };
  /** When it came, milliseconds. */
  readonly since: number;
};

export type Pointers = ReadonlyMap<string | null, Pointed>;

/** With what the streamer has told. */
export function withPointings(known: Pointers, told: readonly Pointing[], now: number): Pointers {
  const pointers = new Map(known);
  for (const { peerId = null, place } of told) {
    if (place === undefined) pointers.delete(peerId);
    else pointers.set(peerId, { peerId, ...place, since: now });
  }
  return pointers;
}

/** Without those who have left, or may not steer any more. */
export function amongst(known: Pointers, people: readonly Pick<Participant, "peerId" | "role">[]): Pointers {
  const steering = new Set<string | null>([null]);
  for (const { peerId, role } of people) if (role === "controller") steering.add(peerId);
  return new Map([...known].filter(([peerId]) => steering.has(peerId)));
}

/** Without those that have faded. */
export function stillShown(known: Pointers, now: number): Pointers {
  return new Map([...known].filter(([, { since }]) => now < since + SHOWN_MS + FADING_MS));
}

export type Spot = {
  /** CSS pixels from the corner of the surface. */
  readonly x: number;
  readonly y: number;
  /** There is no room for the name on the right of it, or below. */
  readonly left: boolean;
  readonly above: boolean;
};

/** Room that a name takes, CSS pixels. */
const NAME: Size = { width: 170, height: 48 };

/**
 * Where a pointer is drawn; null if it is beside the picture, or where that is enlarged beyond what is seen.
 * @param box of the element that shows the picture as large as fits into it, relative to the surface.
 */
export function spotOf({ at }: Pick<Pointed, "at">, picture: Size, box: Rect, surface: Size): Spot | null {
  if (at.x < 0 || at.y < 0 || at.x > picture.width || at.y > picture.height || picture.width <= 0 || picture.height <= 0) return null;
  const point = fromPicture(at, containedRect(box, picture), picture);
  const [x, y] = [Math.round(point.x), Math.round(point.y)];
  if (x < 0 || y < 0 || x > surface.width || y > surface.height) return null;
  return { x, y, left: x > surface.width - NAME.width && x > NAME.width, above: y > surface.height - NAME.height };
}
