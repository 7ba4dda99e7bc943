/** Where sessions of a cluster are, and where they can go. Pure. */

import type { Node, Streamer } from "@oriel/client";

/** Nodes that take another session: those that are alive, but for `except`. */
export function takers(nodes: readonly Node[], except?: string): readonly Node[] {
  return nodes.filter(({ name, state }) => state === "alive" && name !== except);
}

/** Whether a session is at another node than the one that lists it: then the list lacks its peers, slots and counters. */
export function isElsewhere({ node }: Pick<Streamer, "node">, nodes: readonly Node[]): boolean {
  return node !== undefined && !nodes.some(({ name, this: answers }) => answers && name === node);
}
