import type { Api, Node, Streamer } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { t } from "../i18n/words";
import { ago, duration } from "../ui/format";
import { Icon } from "./Icon";
import { Pill } from "../ui/Pill";
import { ifThere } from "../ui/problem";
import { STATE_WORDS, TONES } from "../ui/states";
import { describeSource, shownSlot } from "./describe";
import { MoveDialog } from "./MoveDialog";
import { isElsewhere } from "./placing";
import { Thumbnail } from "./Thumbnail";

type CardProps = {
  readonly api: Api;
  readonly streamer: Streamer;
  /** Of the cluster; null where there is none. */
  readonly nodes: readonly Node[] | null;
  readonly onChanged: () => void;
};

type Open = "nothing" | "deleting" | "moving";

/** One streamer: its picture, how it is, and a way to watch, move or delete it. */
export function Card({ api, streamer, nodes, onChanged }: CardProps) {
  const [open, setOpen] = useState<Open>("nothing");
  const { id, state, node } = streamer;
  const elsewhere = isElsewhere(streamer, nodes ?? []);
  const close = (done: boolean): void => {
    setOpen("nothing");
    if (done) onChanged();
  };
  const watchers = streamer.peers.length;
  const slot = shownSlot(streamer, elsewhere);
  // With all that is written on the picture: by that, people who steer by voice call it.
  const spoken = [t("watch", { name: id }), ...(state === "running" && slot === null ? [t("nothing-is-shared")] : []), t(STATE_WORDS[state])];
  return (
    <li className="card" data-testid={`streamer-${id}`} data-state={state}>
      <a className="card-picture" href={`s/${encodeURIComponent(id)}`} aria-label={spoken.join(", ")}>
        <Thumbnail api={api} id={id} slot={slot} live={state === "running"} />
        <Pill tone={TONES[state]} text={t(STATE_WORDS[state])} testId="state" />
      </a>
      <div className="card-text">
        <div className="card-title">
          <a href={`s/${encodeURIComponent(id)}`} title={id}>
            {id}
          </a>
          {nodes !== null && nodes.length > 1 && node !== undefined && (
            <button
              className="icon-button"
              type="button"
              aria-label={t("move-named", { name: id })}
              title={t("move-to")}
              data-testid="move"
              onClick={() => {
                setOpen("moving");
              }}
            >
              <Icon name="move" />
            </button>
          )}
          <button
            className="icon-button"
            type="button"
            aria-label={t("delete-named", { name: id })}
            title={t("delete")}
            data-testid="delete"
            onClick={() => {
              setOpen("deleting");
            }}
          >
            <Icon name="trash" />
          </button>
        </div>
        <p className="card-facts">
          <span>{describeSource(streamer)}</span>
          {!elsewhere && <span data-testid="viewers">{t("viewers", { count: watchers })}</span>}
          <span>{lifetime(streamer)}</span>
          {node !== undefined && <span data-testid="node">{t("on-node", { name: node })}</span>}
        </p>
        {streamer.reason !== null && <p className="card-reason">{streamer.reason}</p>}
      </div>
      {open === "moving" && <MoveDialog api={api} streamer={streamer} nodes={nodes ?? []} onClose={close} />}
      {open === "deleting" && (
        <ConfirmDialog
          title={t("delete-question", { name: id })}
          text={
            watchers === 0 ? t("delete-session") : t("delete-watched", { count: watchers })
          }
          action={t("delete")}
          onConfirm={() => ifThere(api.remove(id))}
          onClose={close}
        />
      )}
    </li>
  );
}

function lifetime({ state, stats, created }: Streamer): string {
  if (state === "running" && stats !== null) return t("uptime", { duration: duration(stats.uptime_ms) });
  return t("created", { ago: ago(Date.now() - Date.parse(created)) });
}
