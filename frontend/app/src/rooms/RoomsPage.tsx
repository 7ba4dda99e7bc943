import type { Api } from "@oriel/client";
import { useState } from "react";
import "../list/list.css";
import { Icon } from "../list/Icon";
import { Locked } from "../ui/Locked";
import { useListing } from "../ui/useListing";
import { NewRoomDialog } from "./NewRoomDialog";
import { RoomCard } from "./RoomCard";
import "./rooms.css";
import { t } from "../i18n/words";
import { LanguageChoice } from "../ui/LanguageChoice";

type RoomsPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** All rooms: who is in, making one, deleting one. */
export function RoomsPage({ api, root, token }: RoomsPageProps) {
  const { listing, items: rooms, stale, refresh } = useListing((options) => api.rooms(options));
  const [creating, setCreating] = useState(false);

  if (listing.kind === "locked") {
    return <Locked error={listing.error} token={token} root={root} what={t("the-rooms")} opens="r" />;
  }
  const open = (): void => {
    setCreating(true);
  };
  return (
    <div className="list-page">
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> {t("rooms")}
        </h1>
        <nav>
          <LanguageChoice />
          <a className="button" href={root.href}>
            {t("all-sessions")}
          </a>
          <button className="button primary" type="button" data-testid="create-room" onClick={open}>
            <Icon name="plus" /> {t("new-room")}
          </button>
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid="rooms-error">
          {t("trying-again", { trouble: stale })}
        </p>
      )}
      <main>
        {listing.kind === "loading" && <p className="quiet-text">{t("loading")}</p>}
        {listing.kind === "loaded" && rooms.length === 0 && stale === null && (
          <section className="empty" data-testid="no-rooms">
            <h2>{t("no-rooms")}</h2>
            <p>{t("what-is-a-room")}</p>
            <button className="button primary" type="button" onClick={open}>
              <Icon name="plus" /> {t("new-room")}
            </button>
          </section>
        )}
        <ul className="rooms" data-testid="rooms">
          {rooms.map((room) => (
            <RoomCard key={room.id} api={api} room={room} onDeleted={() => void refresh()} />
          ))}
        </ul>
      </main>
      {creating && (
        <NewRoomDialog
          api={api}
          onClose={() => {
            setCreating(false);
            void refresh();
          }}
        />
      )}
    </div>
  );
}
