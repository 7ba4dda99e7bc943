import type { Api } from "@oriel/client";
import { useState } from "react";
import { Icon } from "../list/Icon";
import { ListingPage } from "../ui/ListingPage";
import { useListing } from "../ui/useListing";
import { NewRoomDialog } from "./NewRoomDialog";
import { RoomCard } from "./RoomCard";
import "./rooms.css";
import { t } from "../i18n/words";

type RoomsPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** All rooms: who is in, making one, deleting one. */
export function RoomsPage({ api, root, token }: RoomsPageProps) {
  const listed = useListing((options) => api.rooms(options));
  const { listing, items: rooms, stale, refresh } = listed;
  const [creating, setCreating] = useState(false);
  const open = (): void => {
    setCreating(true);
  };
  return (
    <ListingPage
      title={t("rooms")}
      what={t("the-rooms")}
      opens="r"
      listed={listed}
      root={root}
      token={token}
      errorId="rooms-error"
      actions={
        <button className="button primary" type="button" data-testid="create-room" onClick={open}>
          <Icon name="plus" /> {t("new-room")}
        </button>
      }
    >
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
    </ListingPage>
  );
}
