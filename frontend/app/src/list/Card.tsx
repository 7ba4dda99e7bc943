import type { Api, Streamer } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { t } from "../i18n/words";
import { ago, duration } from "../ui/format";
import { Icon } from "../ui/Icon";
import { Pill } from "../ui/Pill";
import { ifThere } from "../ui/problem";
import { STATE_WORDS, TONES } from "../ui/states";
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
      <a className="card-picture" href={`s/${encodeURIComponent(id)}`} aria-label={t("watch", { name: id })}>
        <Thumbnail api={api} id={id} slot={shownSlot(streamer)} live={state === "running"} />
        <Pill tone={TONES[state]} text={t(STATE_WORDS[state])} testId="state" />
      </a>
      <div className="card-text">
        <div className="card-title">
          <a href={`s/${encodeURIComponent(id)}`} title={id}>
            {id}
          </a>
          <button
            className="icon-button"
            type="button"
            aria-label={t("delete-named", { name: id })}
            title={t("delete")}
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
          <span data-testid="viewers">{t("viewers", { count: watchers })}</span>
          <span>{lifetime(streamer)}</span>
        </p>
        {streamer.reason !== null && <p className="card-reason">{streamer.reason}</p>}
      </div>
      {confirming && (
        <ConfirmDialog
          title={t("delete-question", { name: id })}
          text={
            watchers === 0 ? t("delete-session") : t("delete-watched", { count: watchers })
          }
          action={t("delete")}
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
  if (state === "running" && stats !== null) return t("uptime", { duration: duration(stats.uptime_ms) });
  return t("created", { ago: ago(Date.now() - Date.parse(created)) });
}
