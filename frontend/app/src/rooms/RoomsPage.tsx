import { type Api, ProblemError, type Room } from "@oriel/client";
import { useState } from "react";
import "../list/list.css";
import { Icon } from "../ui/Icon";
import { isLocked, Locked } from "../ui/Locked";
import { messageOf } from "../ui/problem";
import { usePoll } from "../ui/usePoll";
import { NewRoomDialog } from "./NewRoomDialog";
import { RoomCard } from "./RoomCard";
import "./rooms.css";

const POLL_MS = 2_000;

type Listing =
  | { readonly kind: "loading" }
  /** The server does not show it to this viewer. */
  | { readonly kind: "locked"; readonly error: ProblemError }
  | { readonly kind: "loaded"; readonly rooms: readonly Room[]; readonly stale: string | null };

type RoomsPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** All rooms: who is in, making one, deleting one. */
export function RoomsPage({ api, root, token }: RoomsPageProps) {
  const [listing, setListing] = useState<Listing>({ kind: "loading" });
  const [creating, setCreating] = useState(false);

  const refresh = async (signal?: AbortSignal): Promise<void> => {
    try {
      const rooms = await api.rooms(signal === undefined ? {} : { signal });
      setListing({ kind: "loaded", rooms, stale: null });
    } catch (error) {
      if (signal?.aborted === true) return;
      if (error instanceof ProblemError && isLocked(error)) {
        setListing({ kind: "locked", error });
        return;
      }
      const stale = messageOf(error);
      setListing((old) => ({ kind: "loaded", rooms: old.kind === "loaded" ? old.rooms : [], stale }));
    }
  };
  usePoll(refresh, POLL_MS, listing.kind !== "locked");

  if (listing.kind === "locked") {
    return <Locked error={listing.error} token={token} root={root} what="the list of all rooms" opens="r" />;
  }
  const open = (): void => {
    setCreating(true);
  };
  const rooms = listing.kind === "loaded" ? listing.rooms : [];
  const stale = listing.kind === "loaded" ? listing.stale : null;
  return (
    <div className="list-page">
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> Rooms
        </h1>
        <nav>
          <a className="button" href={root.href}>
            All sessions
          </a>
          <button className="button primary" type="button" data-testid="create-room" onClick={open}>
            <Icon name="plus" /> New room
          </button>
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid="rooms-error">
          {stale} Trying again…
        </p>
      )}
      <main>
        {listing.kind === "loading" && <p className="quiet-text">Loading…</p>}
        {listing.kind === "loaded" && rooms.length === 0 && stale === null && (
          <section className="empty" data-testid="no-rooms">
            <h2>No rooms yet</h2>
            <p>People meet in a room: they see and hear each other, write, and show their screens.</p>
            <button className="button primary" type="button" onClick={open}>
              <Icon name="plus" /> New room
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
