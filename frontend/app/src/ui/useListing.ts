import type { ProblemError } from "@oriel/client";
import { startTransition, useCallback, useEffect, useRef, useState } from "react";
import { messageOf } from "./problem";
import { isRefused } from "./refused";
import { usePoll } from "./usePoll";

const POLL_MS = 2_000;
const NOTHING: readonly never[] = [];
/** A page that is not seen is not painted, and does not wait for that. */
const MOST_PAINT_MS = 100;

/** Resolves when what is rendered now has been painted. */
function nextPaint(): Promise<void> {
  return new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, MOST_PAINT_MS);
  });
}

type Listing<Item> =
  | { readonly kind: "loading" }
  /** The server does not show it to this viewer. */
  | { readonly kind: "locked"; readonly error: ProblemError }
  /** `stale`: why it could not be fetched again since. */
  | { readonly kind: "loaded"; readonly items: readonly Item[]; readonly stale: string | null };

export type Listed<Item = unknown> = {
  readonly listing: Listing<Item>;
  /** Empty until it is loaded. */
  readonly items: readonly Item[];
  readonly stale: string | null;
  readonly refresh: () => Promise<void>;
};

type Fetch<Item> = (options: { signal?: AbortSignal }) => Promise<readonly Item[]>;

/** A list of the server's, fetched again and again while it may be seen. */
export function useListing<Item>(fetch: Fetch<Item>): Listed<Item> {
  const [listing, setListing] = useState<Listing<Item>>({ kind: "loading" });
  const latest = useRef(fetch);
  useEffect(() => {
    latest.current = fetch;
  });
  const isFirst = useRef(true);
  // The same function always, so that what is given it needs no rendering for its sake.
  const refresh = useCallback(async (signal?: AbortSignal): Promise<void> => {
    // What is around a long list is there before it.
    const painted = isFirst.current ? nextPaint() : undefined;
    isFirst.current = false;
    try {
      const items = await latest.current(signal === undefined ? {} : { signal });
      await painted;
      // Hundreds of items are rendered without holding up what is typed meanwhile.
      startTransition(() => {
        setListing({ kind: "loaded", items, stale: null });
      });
    } catch (error) {
      if (signal?.aborted === true) return;
      if (isRefused(error)) {
        setListing({ kind: "locked", error });
        return;
      }
      const stale = messageOf(error);
      setListing((old) => ({ kind: "loaded", items: old.kind === "loaded" ? old.items : [], stale }));
    }
  }, []);
  usePoll(refresh, POLL_MS, listing.kind !== "locked");
  return {
    listing,
    items: listing.kind === "loaded" ? listing.items : NOTHING,
    stale: listing.kind === "loaded" ? listing.stale : null,
    refresh,
  };
}
