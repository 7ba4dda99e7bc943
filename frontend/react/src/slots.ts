/** The slots of a grid, as plain data. Pure. */

import type { SlotState } from "@oriel/client";
import type { SlotConfig, SlotStatus } from "@oriel/client/multistream";
import type { Words } from "./words";

/** A stream by its name, or with options. */
export type GridSlot =
  | string
  | {
      readonly stream: string;
      /** In the grid; `""` or `"native"` for the stream itself. */
      readonly quality?: string;
      /** While it is enlarged; the same as in the grid when absent. */
      readonly enlargedQuality?: string;
      /** Shown in place of the stream's name. */
      readonly label?: string;
    };

export type Tile = {
  readonly slot: number;
  readonly stream: string;
  readonly quality: string;
  readonly enlargedQuality: string;
  readonly label: string;
};

/** The tiles of a grid, in order; each uses the slot of its position. */
export function normalise(slots: readonly GridSlot[]): Tile[] {
  return slots.map((entry, slot) => {
    const {
      stream,
      quality = "",
      enlargedQuality,
      label,
    } = typeof entry === "string" ? { stream: entry } : entry;
    return {
      slot,
      stream,
      quality,
      enlargedQuality: enlargedQuality ?? quality,
      label: label ?? stream,
    };
  });
}

/** The order after one member was moved to the place of another; unchanged if either is missing. */
export function moved(order: readonly number[], from: number, to: number): readonly number[] {
  const [place, target] = [order.indexOf(from), order.indexOf(to)];
  if (place < 0 || target < 0 || place === target) return order;
  const after = order.filter((one) => one !== from);
  after.splice(target, 0, from);
  return after;
}

/** The wanted content of the slots of a new session. */
export function configsOf(tiles: readonly Tile[]): SlotConfig[] {
  return tiles.map(({ slot, stream, quality }) => ({ slot, stream, quality }));
}

/** Tiles that show another stream than before: the others are left alone. */
export function changedTiles(before: readonly Tile[], now: readonly Tile[]): Tile[] {
  return now.filter((tile, slot) => {
    const old = before[slot];
    return old?.stream !== tile.stream || old.quality !== tile.quality;
  });
}

export type Tone = "good" | "busy" | "bad" | "quiet";

export const TONES: Readonly<Record<SlotState, Tone>> = {
  pending: "busy",
  active: "good",
  buffering: "busy",
  offline: "bad",
  error: "bad",
  inactive: "quiet",
  paused: "quiet",
};

const ERRORS: Readonly<Record<string, "noSuchStream" | "cannotDecode" | "connectionLost" | "sourceFailed">> = {
  stream_not_found: "noSuchStream",
  codec_unsupported: "cannotDecode",
  connection_lost: "connectionLost",
  source_failed: "sourceFailed",
};

/** A description of a slot's state for people, beyond its name; null when there is none. */
export function explain(status: SlotStatus | null, words: Words): string | null {
  if (status === null) return words.connecting;
  switch (status.status) {
    case "active":
    case "buffering":
    case "paused":
      return null;
    case "pending":
      return words.firstPicture;
    case "inactive":
      return words.nothingShown;
    case "error":
    case "offline": {
      const { error } = status;
      if (error === null) return status.status === "offline" ? words.sourceOffline : words.cannotBeShown;
      const known = ERRORS[error];
      return known === undefined ? error : words[known];
    }
  }
}
