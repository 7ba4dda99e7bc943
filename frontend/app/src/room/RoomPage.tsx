import type { ConnectStep, EndReason } from "@oriel/client";
import { useEffect, useState } from "react";
import { Message } from "../ui/Message";
import { TokenField } from "../ui/TokenField";
import { useClientState, useClientValue } from "../viewer/hooks";
import { occupancy } from "../rooms/occupancy";
import { Lobby } from "./Lobby";
import { rememberedName, rememberName, type RoomModel } from "./model";
import { RoomView } from "./RoomView";
import "../list/list.css";
import "./room.css";
import { explained } from "../ui/problem";
import { type PlainKey, t } from "../i18n/words";

const WAITS_FOR: Record<ConnectStep, PlainKey> = {
  server: "contacting-server",
  streamer: "waiting-for-room",
  transport: "opening-media",
};

type About = { readonly title: string; readonly occupancy: string | null };

/** What is said of a room before it is joined. Without the right to ask, its id has to do. */
function useAbout({ api, id }: RoomModel): About {
  const [about, setAbout] = useState<About>({ title: id, occupancy: null });
  useEffect(() => {
    const stop = new AbortController();
    api.room(id, { signal: stop.signal }).then(
      (room) => {
        setAbout({ title: room.name, occupancy: occupancy(room) });
      },
      // What stands in the way of joining is said then.
      () => undefined,
    );
    return () => {
      stop.abort();
    };
  }, [api, id]);
  return about;
}

/** One room: before, in and after it. */
export function RoomPage({ model }: { readonly model: RoomModel }) {
  const { client, media } = model;
  const { state } = useClientState(client);
  const joined = useClientValue(client, "participants", (current) => current.peerId !== null);
  const about = useAbout(model);
  useEffect(() => {
    document.title = `${about.title} – Oriel`;
  }, [about.title]);

  const join = (name: string): void => {
    rememberName(name);
    client.setDisplayName(name === "" ? null : name);
    client.connect().catch(() => undefined);
  };
  switch (state.kind) {
    case "idle":
      return <Lobby {...about} media={media} name={rememberedName()} onJoin={join} />;
    case "connecting":
      return <Joining title={about.title} text={t(WAITS_FOR[state.step])} />;
    case "connected":
    case "reconnecting":
      return joined || state.kind === "connected" ? (
        <RoomView model={model} title={about.title} state={state} />
      ) : (
        <Joining title={about.title} text={t("room-not-reached")} />
      );
    case "ended":
      return (
        <Ended
          model={model}
          title={about.title}
          reason={state.reason}
          onJoin={() => {
            join(rememberedName());
          }}
        />
      );
  }
}

/** On the way into a room. */
function Joining({ title, text }: { readonly title: string; readonly text: string }) {
  return (
    <main className="message" data-testid="joining">
      <h1 className="unseen-text">{title}</h1>
      <span className="spinner" aria-hidden="true" />
      <p role="status">{text}</p>
    </main>
  );
}

type EndedProps = {
  readonly model: RoomModel;
  readonly title: string;
  readonly reason: EndReason;
  readonly onJoin: () => void;
};

function Ended({ model, title, reason, onJoin }: EndedProps) {
  const { media, root, hasToken } = model;
  // Nobody watches any more: no light stays on.
  useEffect(() => {
    media.closeAll();
  }, [media]);
  const wantsToken = reason.kind === "refused" && reason.code === "unauthorized";
  const { heading, text } = describeEnd(title, reason, hasToken);
  const again = reason.kind === "left" || (reason.kind === "refused" && !wantsToken && reason.code !== "removed");
  return (
    <Message title={heading}>
      {text !== null && (
        <p className="reason" role="alert" data-testid="ended" data-reason={reason.kind}>
          {text}
        </p>
      )}
      {wantsToken && <TokenField label={t("token")} refused />}
      <div className="message-actions">
        {again && (
          <button className="button primary" type="button" data-testid="join-again" onClick={onJoin}>
            {reason.kind === "left" ? t("join-again") : t("try-again")}
          </button>
        )}
        <a className="button" href={new URL("rooms", root).href}>
          {t("all-rooms")}
        </a>
      </div>
    </Message>
  );
}

function describeEnd(title: string, reason: EndReason, hasToken: boolean): { heading: string; text: string | null } {
  switch (reason.kind) {
    case "left":
      return { heading: t("you-left", { room: title }), text: t("you-left-detail") };
    case "not-found":
      return { heading: t("no-such-room"), text: t("room-gone", { name: title }) };
    case "stopped":
      return { heading: t("room-has-closed"), text: reason.message ?? t("room-has-closed-detail") };
    case "failed":
      return { heading: t("room-has-failed"), text: reason.message ?? t("room-has-failed-detail") };
    case "refused":
      return refusal(title, reason.code, reason.message, hasToken);
  }
}

function refusal(title: string, code: string | null, message: string, hasToken: boolean): { heading: string; text: string } {
  switch (code) {
    case "room_full":
      return { heading: t("room-full", { room: title }), text: t("room-full-detail") };
    case "removed":
      return { heading: t("you-were-removed"), text: t("you-were-removed-detail") };
    case "unauthorized":
      return hasToken
        ? { heading: t("not-allowed"), text: explained(code, message) }
        : { heading: t("who-is-there"), text: t("room-for-whom") };
    default:
      return { heading: t("not-allowed"), text: explained(code, message) };
  }
}
