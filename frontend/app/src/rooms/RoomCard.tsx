import type { Api, Room, StreamerState } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { count } from "../ui/format";
import { Icon } from "../ui/Icon";
import { Pill } from "../ui/Pill";
import { ifThere } from "../ui/problem";
import { TONES } from "../ui/states";
import { occupancy } from "./form";

/** What a state of its process means for a room. */
const STATES: Record<StreamerState, string> = {
  starting: "starting",
  running: "open",
  restarting: "restarting",
  failed: "failed",
  stopped: "closed",
  stopping: "closing",
  lost: "lost with its node",
};

type RoomCardProps = { readonly api: Api; readonly room: Room; readonly onDeleted: () => void };

/** One room: its name, who is in, and a way to enter or delete it. */
export function RoomCard({ api, room, onDeleted }: RoomCardProps) {
  const [confirming, setConfirming] = useState(false);
  const { id, name, state, participants } = room;
  return (
    <li className="room-card" data-testid={`room-${id}`} data-state={state}>
      <div className="room-card-text">
        <h2>
          <a href={`r/${encodeURIComponent(id)}`}>{name}</a>
        </h2>
        <p className="card-facts">
          <Pill tone={TONES[state]} text={STATES[state]} testId="state" />
          <span data-testid="occupancy">{occupancy(room)}</span>
        </p>
      </div>
      <a className="button" href={`r/${encodeURIComponent(id)}`} data-testid="enter" aria-label={`Enter ${name}`}>
        Enter
      </a>
      <button
        className="icon-button"
        type="button"
        aria-label={`Delete ${name}`}
        title="Delete"
        data-testid="delete"
        onClick={() => {
          setConfirming(true);
        }}
      >
        <Icon name="trash" />
      </button>
      {confirming && (
        <ConfirmDialog
          title={`Delete ${name}?`}
          text={
            participants === 0
              ? "The room and what was written in it are gone."
              : `The room and what was written in it are gone, also for the ${count(participants, "person", "people")} in it.`
          }
          action="Delete"
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
