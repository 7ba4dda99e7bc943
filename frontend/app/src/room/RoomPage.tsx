import type { ConnectStep, EndReason } from "@oriel/client";
import { useEffect, useState } from "react";
import { Message } from "../ui/Message";
import { TokenField } from "../ui/TokenField";
import { useClientState, useClientValue } from "../viewer/hooks";
import { occupancy } from "../rooms/form";
import { Lobby } from "./Lobby";
import { rememberedName, rememberName, type RoomModel } from "./model";
import { RoomView } from "./RoomView";
import "../list/list.css";
import "./room.css";

const WAITS_FOR: Record<ConnectStep, string> = {
  server: "Contacting the server…",
  streamer: "Waiting for the room…",
  transport: "Opening the media path…",
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
      return (
        <main className="message" role="status" data-testid="joining">
          <span className="spinner" aria-hidden="true" />
          <p>{WAITS_FOR[state.step]}</p>
        </main>
      );
    case "connected":
    case "reconnecting":
      return joined || state.kind === "connected" ? (
        <RoomView model={model} title={about.title} state={state} />
      ) : (
        <main className="message" role="status" data-testid="joining">
          <span className="spinner" aria-hidden="true" />
          <p>The room cannot be reached yet. Trying again…</p>
        </main>
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
      {wantsToken && <TokenField label="Token" />}
      <div className="message-actions">
        {again && (
          <button className="button primary" type="button" data-testid="join-again" onClick={onJoin}>
            {reason.kind === "left" ? "Join again" : "Try again"}
          </button>
        )}
        <a className="button" href={new URL("rooms", root).href}>
          All rooms
        </a>
      </div>
    </Message>
  );
}

function describeEnd(title: string, reason: EndReason, hasToken: boolean): { heading: string; text: string | null } {
  switch (reason.kind) {
    case "left":
      return { heading: `You have left ${title}`, text: "Your camera and microphone are off." };
    case "not-found":
      return { heading: "There is no such room", text: `“${title}” does not exist, or no longer.` };
    case "stopped":
      return { heading: "The room has been closed", text: reason.message ?? "Whoever runs this server has closed it." };
    case "failed":
      return { heading: "The room has failed", text: reason.message ?? "Its process on the server has ended by itself." };
    case "refused":
      return refusal(title, reason.code, reason.message, hasToken);
  }
}

function refusal(title: string, code: string | null, message: string, hasToken: boolean): { heading: string; text: string } {
  switch (code) {
    case "room_full":
      return { heading: `${title} is full`, text: "As many people are in it as it takes. Try again when somebody has left." };
    case "removed":
      return { heading: "You have been removed", text: "A moderator has removed you from this room." };
    case "unauthorized":
      return hasToken
        ? { heading: "Not allowed", text: message }
        : { heading: "Who is there?", text: "This room is for people with a link to it, or with the admin secret." };
    default:
      return { heading: "Not allowed", text: message };
  }
}
