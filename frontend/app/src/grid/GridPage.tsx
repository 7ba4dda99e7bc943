import type { Api, ProblemError } from "@oriel/client";
import { CameraGrid } from "@oriel/react";
import { useEffect, useState } from "react";
import { arrangedGrid, type GridWish } from "../location";
import { Icon } from "../ui/Icon";
import { Locked } from "../ui/Locked";
import { camerasOf } from "./cameras";
import "./grid.css";
import { messageOf } from "../ui/problem";
import { isRefused } from "../ui/refused";
import { t } from "../i18n/words";
import { LanguageChoice } from "../ui/LanguageChoice";

type Listing =
  | { readonly kind: "loading" }
  | {
      readonly kind: "loaded";
      readonly streams: readonly string[];
      /** Whose they are; null when the address has named them. */
      readonly streamer: string | null;
      /** Streams that there is no slot for. */
      readonly left: number;
    }
  /** The server does not show them to this viewer. */
  | { readonly kind: "locked"; readonly error: ProblemError }
  | { readonly kind: "failed"; readonly why: string };

type GridPageProps = {
  readonly api: Api;
  readonly root: URL;
  readonly token: string | null;
  readonly wish: GridWish;
};

/** Cameras side by side, over one connection: those that the address names, else all there are. */
export function GridPage({ api, root, token, wish }: GridPageProps) {
  const { streams, quality } = wish;
  const [listing, setListing] = useState<Listing>(
    streams === null ? { kind: "loading" } : { kind: "loaded", streams, streamer: null, left: 0 },
  );
  useEffect(() => {
    if (streams !== null) return undefined;
    const stop = new AbortController();
    void listStreams(api, stop.signal).then((found) => {
      if (!stop.signal.aborted) setListing(found);
    });
    return () => {
      stop.abort();
    };
  }, [api, streams]);

  if (listing.kind === "locked") return <Locked error={listing.error} token={token} root={root} what={t("the-cameras")} />;
  return (
    <div className="grid-page">
      <header className="grid-header">
        <a className="icon-button" href={root.href} aria-label={t("all-sessions")} title={t("all-sessions")}>
          <Icon name="back" />
        </a>
        <h1>{t("cameras")}</h1>
        <LanguageChoice />
      </header>
      <main>
        {listing.kind === "loading" && <p className="quiet-text">{t("cameras-looking")}</p>}
        {listing.kind === "failed" && (
          <p className="banner" role="alert" data-testid="grid-error">
            {listing.why}
          </p>
        )}
        {listing.kind === "loaded" && listing.streams.length === 0 && (
          <p className="quiet-text" data-testid="no-streams">
            {t("no-streams", { name: listing.streamer ?? "" })}
          </p>
        )}
        {listing.kind === "loaded" && listing.streams.length > 0 && (
          <CameraGrid
            server={root}
            token={token}
            muted={false}
            slots={listing.streams.map((stream) => ({ stream, quality, enlargedQuality: "" }))}
            onRearrange={(arranged) => {
              history.replaceState(null, "", arrangedGrid(location.href, arranged));
            }}
          />
        )}
        {listing.kind === "loaded" && listing.left > 0 && (
          <p className="quiet-text" data-testid="streams-left">
            {t("streams-left", { count: listing.left })}
          </p>
        )}
      </main>
    </div>
  );
}

async function listStreams(api: Api, signal: AbortSignal): Promise<Listing> {
  try {
    const { streamer, streams, max_slots: most } = await api.streams({ signal });
    const names = camerasOf(streams);
    const left = Math.max(0, names.length - most);
    return { kind: "loaded", streams: names.slice(0, most), streamer, left };
  } catch (error) {
    if (isRefused(error)) return { kind: "locked", error };
    return { kind: "failed", why: messageOf(error) };
  }
}
