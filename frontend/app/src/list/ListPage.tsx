import type { Api } from "@oriel/client";
import { useDeferredValue, useEffect, useMemo, useState } from "react";
import { Icon } from "./Icon";
import { Locked } from "../ui/Locked";
import { useListing } from "../ui/useListing";
import { useNodes } from "../ui/useNodes";
import { Card } from "./Card";
import { CreateDialog } from "./CreateDialog";
import { EmptyState } from "./EmptyState";
import { EVERYTHING, nodeNames, sift } from "./sift";
import { SiftBar } from "./SiftBar";
import "./list.css";
import { t } from "../i18n/words";
import { LanguageChoice } from "../ui/LanguageChoice";

/** The streamer of the cameras, as the server names it; null while that is not known. */
function useCameras(api: Api): string | null {
  const [cameras, setCameras] = useState<string | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    api.streams({ signal: stop.signal }).then(
      ({ streamer }) => {
        setCameras(streamer);
      },
      // The list itself reports when the server cannot be reached.
      () => undefined,
    );
    return () => {
      stop.abort();
    };
  }, [api]);
  return cameras;
}

type ListPageProps = {
  readonly api: Api;
  readonly root: URL;
  readonly token: string | null;
  /** Show those of this node first; null: those of all. */
  readonly node: string | null;
};

/** All streamers, with a picture of each. */
export function ListPage({ api, root, token, node }: ListPageProps) {
  const { listing, items: streamers, stale, refresh } = useListing((options) => api.streamers(options));
  const [creating, setCreating] = useState(false);
  const [wish, setWish] = useState({ ...EVERYTHING, node });
  const cameras = useCameras(api);
  const nodes = useNodes(api);
  // What is typed or chosen shows at once; hundreds of cards follow, and are left undone for the next key.
  const sought = useDeferredValue(wish);
  const shown = useMemo(() => sift(streamers, sought), [streamers, sought]);
  const cards = useMemo(
    () =>
      shown.map((streamer) => (
        <Card key={streamer.id} api={api} streamer={streamer} nodes={nodes} onChanged={() => void refresh()} />
      )),
    [api, shown, nodes, refresh],
  );

  const open = (): void => {
    setCreating(true);
  };

  if (listing.kind === "locked") {
    return <Locked error={listing.error} token={token} root={root} what={t("the-sessions")} />;
  }
  return (
    <div className="list-page">
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> Oriel
        </h1>
        <nav>
          <LanguageChoice />
          {streamers.some(({ id, spec }) => id === cameras && spec.source === undefined) && (
            <a className="button" href="grid" data-testid="to-grid">
              <Icon name="grid" /> {t("cameras")}
            </a>
          )}
          <a className="button" href="rooms" data-testid="to-rooms">
            <Icon name="people" /> {t("rooms")}
          </a>
          <a className="button" href="hosts" data-testid="to-hosts">
            <Icon name="gamepad" /> {t("hosts")}
          </a>
          {nodes !== null && (
            <a className="button" href="nodes" data-testid="to-nodes">
              <Icon name="nodes" /> {t("nodes")}
            </a>
          )}
          <button className="button primary" type="button" data-testid="create" onClick={open}>
            <Icon name="plus" /> {t("new-session")}
          </button>
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid="list-error">
          {t("trying-again", { trouble: stale })}
        </p>
      )}
      <main>
        {listing.kind === "loading" && <p className="quiet-text">{t("loading")}</p>}
        {listing.kind === "loaded" && streamers.length === 0 && stale === null && (
          <EmptyState root={root} onCreate={open} />
        )}
        {streamers.length > 0 && (
          <SiftBar
            wish={wish}
            setWish={setWish}
            nodes={nodeNames(nodes ?? [], streamers, wish.node)}
            shown={shown.length}
            all={streamers.length}
          />
        )}
        <ul className="cards" data-testid="streamers">
          {cards}
        </ul>
      </main>
      {creating && (
        <CreateDialog
          api={api}
          nodes={nodes ?? []}
          onClose={() => {
            setCreating(false);
            void refresh();
          }}
        />
      )}
    </div>
  );
}
