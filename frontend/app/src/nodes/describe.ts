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

/** Whether its machine has as much to do as it may, so that the node takes no more. What is not known is no reason. */
export function isBusy({ load, max_cpu_percent: cpu, max_memory_mb: memory }: Pick<Node, "load" | "max_cpu_percent" | "max_memory_mb">): boolean {
  if (load === undefined) return false;
  return (cpu !== undefined && load.cpu_percent >= cpu) || (memory !== undefined && load.memory_mb >= memory);
}

/** Its labels as they are configured: `gpu=yes`. */
export function labelsOf({ labels }: Pick<Node, "labels">): readonly string[] {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}
