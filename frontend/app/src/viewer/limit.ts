/** What this browser wants to be sent at most, to save data. */

import type { Source } from "@oriel/client";
import { keep, kept } from "../ui/kept";

const KEY = "oriel.most-kbps";

/** Kilobits per second to choose from. */
export const LIMITS = [4_000, 1_500, 500] as const;
export type Limit = (typeof LIMITS)[number];

/** Null: what the network carries. */
export function keptLimit(): Limit | null {
  return LIMITS.find((limit) => String(limit) === kept(KEY)) ?? null;
}

export function keepLimit(limit: Limit | null): void {
  keep(KEY, limit === null ? null : String(limit));
}

/** Whether the server encodes a source, so that it can be sent with less detail. What is passed through can only be left out. Pure. */
export function canBeLess({ source }: Pick<Source, "source">): boolean {
  switch (source.type) {
    case "desktop":
    case "test":
    case "window":
      return true;
    case "ffmpeg":
      return source.video !== "copy";
    default:
      return false;
  }
}
