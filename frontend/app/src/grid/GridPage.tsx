import { type Api, ProblemError } from "@oriel/client";
import { CameraGrid } from "@oriel/react";
import { useEffect, useState } from "react";
import type { GridWish } from "../location";
import { Icon } from "../ui/Icon";
import "./grid.css";

type Listing =
  | { readonly kind: "loading" }
  | { readonly kind: "loaded"; readonly streams: readonly string[] }
  | { readonly kind: "failed"; readonly why: string };

type GridPageProps = {
  readonly api: Api;
  readonly root: URL;
  readonly token: string | null;
  readonly wish: GridWish;
};

/** Cameras side by side, over one connection: those that the address names, else all there are. */
export function GridPage({ api, root, token, wish }: GridPageProps) {
  const { streams, streamer, quality } = wish;
  const [listing, setListing] = useState<Listing>(
    streams === null ? { kind: "loading" } : { kind: "loaded", streams },
  );
  useEffect(() => {
    if (streams !== null) return undefined;
    const stop = new AbortController();
    void listStreams(api, streamer, stop.signal).then((found) => {
      if (!stop.signal.aborted) setListing(found);
    });
    return () => {
      stop.abort();
    };
  }, [api, streams, streamer]);

  return (
    <div className="grid-page">
      <header className="grid-header">
        <a className="icon-button" href={root.href} aria-label="All sessions" title="All sessions">
          <Icon name="back" />
        </a>
        <h1>Cameras</h1>
      </header>
      <main>
        {listing.kind === "loading" && <p className="quiet-text">Looking for cameras…</p>}
        {listing.kind === "failed" && (
          <p className="banner" role="alert" data-testid="grid-error">
            {listing.why}
          </p>
        )}
        {listing.kind === "loaded" && listing.streams.length === 0 && (
          <p className="quiet-text" data-testid="no-streams">
            “{streamer}” has no streams yet.
          </p>
        )}
        {listing.kind === "loaded" && listing.streams.length > 0 && (
          <CameraGrid
            server={root}
            token={token}
            muted={false}
            slots={listing.streams.map((stream) => ({ stream, quality, enlargedQuality: "" }))}
          />
        )}
      </main>
    </div>
  );
}

async function listStreams(api: Api, streamer: string, signal: AbortSignal): Promise<Listing> {
  try {
    const sources = await api.sources(streamer, { signal });
    return { kind: "loaded", streams: sources.map(({ name }) => name) };
  } catch (error) {
    if (!(error instanceof ProblemError)) return { kind: "failed", why: "The server cannot be reached." };
    return error.status === 404
      ? { kind: "failed", why: `There are no cameras: no session is called “${streamer}”.` }
      : { kind: "failed", why: error.message };
  }
}
