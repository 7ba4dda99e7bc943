import type { Api, Streamer } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { count, duration } from "../ui/format";
import { Icon } from "../ui/Icon";
import { Pill } from "../ui/Pill";
import { ifThere } from "../ui/problem";
import { TONES } from "../ui/states";
import { describeSource, shownSlot } from "./describe";
import { Thumbnail } from "./Thumbnail";

type CardProps = { readonly api: Api; readonly streamer: Streamer; readonly onDeleted: () => void };

/** One streamer: its picture, how it is, and a way to watch or delete it. */
export function Card({ api, streamer, onDeleted }: CardProps) {
  const [confirming, setConfirming] = useState(false);
  const { id, state } = streamer;
  const watchers = streamer.peers.length;
  return (
    <li className="card" data-testid={`streamer-${id}`} data-state={state}>
      <a className="card-picture" href={`s/${encodeURIComponent(id)}`} aria-label={`Watch ${id}`}>
        <Thumbnail api={api} id={id} slot={shownSlot(streamer)} live={state === "running"} />
        <Pill tone={TONES[state]} text={state} testId="state" />
      </a>
      <div className="card-text">
        <div className="card-title">
          <a href={`s/${encodeURIComponent(id)}`} title={id}>
            {id}
          </a>
          <button
            className="icon-button"
            type="button"
            aria-label={`Delete ${id}`}
            title="Delete"
            data-testid="delete"
            onClick={() => {
              setConfirming(true);
            }}
          >
            <Icon name="trash" />
          </button>
        </div>
        <p className="card-facts">
          <span>{describeSource(streamer)}</span>
          <span data-testid="viewers">{count(watchers, "viewer", "viewers")}</span>
          <span>{lifetime(streamer)}</span>
        </p>
        {streamer.reason !== null && <p className="card-reason">{streamer.reason}</p>}
      </div>
      {confirming && (
        <ConfirmDialog
          title={`Delete ${id}?`}
          text={
            watchers === 0
              ? "The session and everything that runs in it ends."
              : `The session and everything that runs in it ends, also for the ${count(watchers, "viewer", "viewers")}.`
          }
          action="Delete"
          onConfirm={() => ifThere(api.remove(id))}
          onClose={(done) => {
            setConfirming(false);
            if (done) onDeleted();
          }}
        />
      )}
    </li>
  );
}

function lifetime({ state, stats, created }: Streamer): string {
  if (state === "running" && stats !== null) return `up ${duration(stats.uptime_ms)}`;
  return `created ${duration(Date.now() - Date.parse(created))} ago`;
}
