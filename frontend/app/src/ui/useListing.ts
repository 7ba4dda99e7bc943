import { ProblemError } from "@oriel/client";
import { useState } from "react";
import { isLocked } from "./Locked";
import { messageOf } from "./problem";
import { usePoll } from "./usePoll";

const POLL_MS = 2_000;

type Listing<Item> =
  | { readonly kind: "loading" }
  /** The server does not show it to this viewer. */
  | { readonly kind: "locked"; readonly error: ProblemError }
  /** `stale`: why it could not be fetched again since. */
  | { readonly kind: "loaded"; readonly items: readonly Item[]; readonly stale: string | null };

type Fetch<Item> = (options: { signal?: AbortSignal }) => Promise<readonly Item[]>;

/** A list of the server's, fetched again and again while it may be seen. */
export function useListing<Item>(fetch: Fetch<Item>): {
  readonly listing: Listing<Item>;
  /** Empty until it is loaded. */
  readonly items: readonly Item[];
  readonly stale: string | null;
  readonly refresh: () => Promise<void>;
} {
  const [listing, setListing] = useState<Listing<Item>>({ kind: "loading" });
  const refresh = async (signal?: AbortSignal): Promise<void> => {
    try {
      const items = await fetch(signal === undefined ? {} : { signal });
      setListing({ kind: "loaded", items, stale: null });
    } catch (error) {
      if (signal?.aborted === true) return;
      if (error instanceof ProblemError && isLocked(error)) {
        setListing({ kind: "locked", error });
        return;
      }
      const stale = messageOf(error);
      setListing((old) => ({ kind: "loaded", items: old.kind === "loaded" ? old.items : [], stale }));
    }
  };
  usePoll(refresh, POLL_MS, listing.kind !== "locked");
  const loaded = listing.kind === "loaded" ? listing : { items: [], stale: null };
  return { listing, items: loaded.items, stale: loaded.stale, refresh: () => refresh() };
}
