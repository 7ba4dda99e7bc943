import type { Api, Room, StreamerState } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { type PlainKey, t } from "../i18n/words";
import { Icon } from "../list/Icon";
import { Pill } from "../ui/Pill";
import { ifThere } from "../ui/problem";
import { TONES } from "../ui/states";
import { occupancy } from "./occupancy";

/** What a state of its process means for a room. */
const STATES: Record<StreamerState, PlainKey> = {
  starting: "session-starting",
  running: "room-open",
  restarting: "session-restarting",
  failed: "session-failed",
  stopped: "room-closed",
  stopping: "room-closing",
  lost: "session-lost",
};

type RoomCardProps = { readonly api: Api; readonly room: Room; readonly onDeleted: () => void };

/** One room: its name, who is in, and a way to enter or delete it. */
export function RoomCard({ api, room, onDeleted }: RoomCardProps) {
  const [confirming, setConfirming] = useState(false);
  const { id, name, state, participants = 0 } = room;
  return (
    <li className="room-card" data-testid={`room-${id}`} data-state={state}>
      <div className="room-card-text">
        <h2>
          <a href={`r/${encodeURIComponent(id)}`}>{name}</a>
        </h2>
        <p className="card-facts">
          <Pill tone={TONES[state]} text={t(STATES[state])} testId="state" />
          <span data-testid="occupancy">{occupancy(room)}</span>
        </p>
      </div>
      <a className="button" href={`r/${encodeURIComponent(id)}`} data-testid="enter" aria-label={t("enter-room", { name })}>
        {t("enter")}
      </a>
      <button
        className="icon-button"
        type="button"
        aria-label={t("delete-named", { name })}
        title={t("delete")}
        data-testid="delete"
        onClick={() => {
          setConfirming(true);
        }}
      >
        <Icon name="trash" />
      </button>
      {confirming && (
        <ConfirmDialog
          title={t("delete-question", { name })}
          text={
            participants === 0 ? t("delete-room") : t("delete-occupied", { count: participants })
          }
          action={t("delete")}
          onConfirm={() => ifThere(api.removeRoom(id))}
          onClose={(done) => {
            setConfirming(false);
            if (done) onDeleted();
          }}
        />
      )}
    </li>
  );
}
