/** Which sessions of a long list are shown, and in what order. Pure. */

import type { Streamer, StreamerState } from "@oriel/client";

export const SORTS = ["name", "newest", "watched"] as const;
export type Sort = (typeof SORTS)[number];

export type Wish = {
  /** Part of a name; empty: any. */
  readonly search: string;
  /** Null: in any state. */
  readonly state: StreamerState | null;
  readonly sort: Sort;
};

export const EVERYTHING: Wish = { search: "", state: null, sort: "name" };

type Sifted = Pick<Streamer, "id" | "state" | "created" | "peers">;

const ORDERS: Readonly<Record<Sort, (a: Sifted, b: Sifted) => number>> = {
  name: () => 0,
  newest: (a, b) => b.created.localeCompare(a.created),
  watched: (a, b) => b.peers.length - a.peers.length,
};

/** The sessions that are wished for; those that are alike in the wished order are by name. */
export function sift<S extends Sifted>(streamers: readonly S[], { search, state, sort }: Wish): readonly S[] {
  const part = search.trim().toLowerCase();
  return streamers
    .filter((streamer) => (state === null || streamer.state === state) && streamer.id.toLowerCase().includes(part))
    .sort((a, b) => ORDERS[sort](a, b) || a.id.localeCompare(b.id, undefined, { numeric: true }));
}
