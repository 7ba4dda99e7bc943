/** What a node is, in a few words and figures. Pure. */

import type { Node, NodeState } from "@oriel/client";
import type { PlainKey } from "../i18n/words";
import type { Tone } from "../ui/Pill";

type Described = {
  readonly tone: Tone;
  readonly text: PlainKey;
  /** What follows from it; null where nothing does. */
  readonly meaning: PlainKey | null;
};

export const STATES: Readonly<Record<NodeState, Described>> = {
  alive: { tone: "good", text: "node-alive", meaning: null },
  draining: { tone: "busy", text: "node-draining", meaning: "node-draining-text" },
  lost: { tone: "bad", text: "node-lost", meaning: "node-lost-text" },
};

/** How full it is, from 0 to 1. One that takes nothing is full. */
export function fullness({ streamers, max_streamers: most }: Pick<Node, "streamers" | "max_streamers">): number {
  return most === 0 ? 1 : Math.min(streamers / most, 1);
}

/** Its labels as they are configured: `gpu=yes`. */
export function labelsOf({ labels }: Pick<Node, "labels">): readonly string[] {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}
