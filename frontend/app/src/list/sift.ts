/** Which sessions of a long list are shown, and in what order. Pure. */

import type { Node, Streamer, StreamerState } from "@oriel/client";

export const SORTS = ["name", "newest", "watched"] as const;
export type Sort = (typeof SORTS)[number];

export type Wish = {
  /** Part of a name; empty: any. */
  readonly search: string;
  /** Null: in any state. */
  readonly state: StreamerState | null;
  /** Name of a node of the cluster; null: at any. */
  readonly node: string | null;
  readonly sort: Sort;
};

export const EVERYTHING: Wish = { search: "", state: null, node: null, sort: "name" };

type Sifted = Pick<Streamer, "id" | "state" | "created" | "peers" | "node">;

const ORDERS: Readonly<Record<Sort, (a: Sifted, b: Sifted) => number>> = {
  name: () => 0,
  newest: (a, b) => b.created.localeCompare(a.created),
  watched: (a, b) => b.peers.length - a.peers.length,
};

/** The sessions that are wished for; those that are alike in the wished order are by name. */
export function sift<S extends Sifted>(streamers: readonly S[], { search, state, node, sort }: Wish): readonly S[] {
  const part = search.trim().toLowerCase();
  return streamers
    .filter((streamer) => state === null || streamer.state === state)
    .filter((streamer) => node === null || streamer.node === node)
    .filter(({ id }) => id.toLowerCase().includes(part))
    .sort((a, b) => ORDERS[sort](a, b) || a.id.localeCompare(b.id, undefined, { numeric: true }));
}

/**
 * The nodes that can be chosen from, by name: those of the cluster, those that sessions are said to be at, and the one that is chosen. Empty
 * where there is no cluster.
 */
export function nodeNames(nodes: readonly Pick<Node, "name">[], streamers: readonly Pick<Streamer, "node">[], chosen: string | null): readonly string[] {
  const named = [...nodes.map(({ name }) => name), ...streamers.map(({ node }) => node), chosen];
  const names = new Set(named.filter((name) => name !== undefined && name !== null));
  return [...names].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
}
