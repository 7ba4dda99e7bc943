import type { ClientState } from "@oriel/client";
import { useCallback, useEffect, useMemo, useState } from "react";
import { type PlainKey, t } from "../i18n/words";
import { Icon } from "./Icon";
import { Pill, type Tone } from "../ui/Pill";
import { useClientValue, useLatest } from "../viewer/hooks";
import { Bar, type PanelName, toolId } from "./Bar";
import { ChatPanel } from "./ChatPanel";
import { useLocalMedia, useNews, useNotice, useReactions, useSize, useUnread } from "./hooks";
import { layOut } from "./layout";
import { DeviceSettings } from "./Lobby";
import type { RoomModel } from "./model";
import { PeoplePanel } from "./PeoplePanel";
import { nameOf } from "../ui/person";
import { seenOf, tilesOf } from "./people";
import { publishAll } from "./publishing";
import { TileView } from "./TileView";

type Live = Extract<ClientState, { kind: "connected" | "reconnecting" }>;
type RoomViewProps = { readonly model: RoomModel; readonly title: string; readonly state: Live };

const PANELS: Readonly<Record<Exclude<PanelName, "none">, PlainKey>> = {
  chat: "chat",
  people: "panel-people",
  devices: "devices",
};

const NOT_TAKEN = { camera: "camera-not-taken", microphone: "microphone-not-taken", screen: "screen-not-taken" } as const;
const ENDED_BY = { camera: "camera-ended-by", microphone: "microphone-ended-by", screen: "screen-ended-by" } as const;
const TURNED_OFF = { camera: "camera-turned-off", microphone: "muted-you", screen: "screen-turned-off" } as const;

/** In the room. */
export function RoomView({ model, title, state }: RoomViewProps) {
  const { client, media } = model;
  const local = useLocalMedia(media);
  const participants = useClientValue(client, "participants", (current) => current.participants);
  const slots = useClientValue(client, "slots", (current) => current.slots);
  const interrupted = useLatest(client, "interrupted", false);
  const reactions = useReactions(client);
  const { notice, tell } = useNotice();
  const [area, setArea] = useState<HTMLElement | null>(null);
  const [pinned, setPinned] = useState<string | null>(null);
  const [panel, setPanel] = useState<PanelName>("none");
  const [blocked, setBlocked] = useState(false);
  const [allowed, setAllowed] = useState(0);
  const size = useSize(area);
  const unread = useUnread(client, panel === "chat");
  useNews(client, tell);
  usePublishing(model, tell);

  const self = client.peerId;
  const tiles = useMemo(() => tilesOf(participants, slots, self, pinned), [participants, slots, self, pinned]);
  const arranged = layOut(size, tiles.stage.length, tiles.beside.length);
  const seen = seenOf(tiles, arranged.people.length);
  const boxOf = (key: string) => {
    const staged = tiles.stage.indexOf(key);
    return (staged >= 0 ? arranged.stage[staged] : arranged.people[seen.indexOf(key)]) ?? null;
  };
  const closePanel = (): void => {
    setPanel("none");
    document.getElementById(toolId(panel))?.focus();
  };
  const hidden = tiles.beside.length - arranged.people.length;
  const onBlocked = useCallback(() => {
    setBlocked(true);
  }, []);
  const { tone, text } = statusOf(state, interrupted);
  const stale = interrupted || (state.kind === "reconnecting" && !state.mediaFlows);
  const classes = ["room", panel === "none" ? "" : "with-panel", stale ? "stale" : ""];
  const raised = participants.find(({ peerId }) => peerId === self)?.handRaised === true;

  return (
    <div
      className={classes.filter((name) => name !== "").join(" ")}
      data-testid="room"
      data-state={state.kind}
      data-peer={self}
    >
      <header className="room-header">
        <h1 title={title}>{title}</h1>
        <span role="status">{tone !== "good" && <Pill tone={tone} text={text} testId="room-state" />}</span>
        <span className="quiet-text" data-testid="count">
          {t("people", { count: participants.length })}
        </span>
        {hidden > 0 && (
          <span className="quiet-text" data-testid="hidden-tiles">
            {t("not-shown", { count: hidden })}
          </span>
        )}
      </header>
      <main className="tiles" ref={setArea} aria-label={t("people-and-screens")} data-testid="tiles">
        {tiles.all.map((tile) => (
          <TileView
            key={tile.key}
            client={client}
            tile={tile}
            box={boxOf(tile.key)}
            view={tile.slot === null ? null : (slots.get(tile.slot) ?? null)}
            local={tile.own && local.camera.kind === "on" ? local.camera.track : null}
            large={tiles.stage.includes(tile.key)}
            pinned={tile.key === pinned}
            reaction={tile.peerId === null || tile.kind !== "person" ? null : (reactions.get(tile.peerId) ?? null)}
            allowed={allowed}
            onBlocked={onBlocked}
            onPin={() => {
              setPinned(tile.key === pinned ? null : tile.key);
            }}
          />
        ))}
        {tiles.all.length === 0 && <p className="quiet-text nobody">{t("nobody-shows")}</p>}
        {blocked && (
          <button
            className="button primary sound-blocked"
            type="button"
            data-testid="play-sound"
            onClick={() => {
              setBlocked(false);
              setAllowed(allowed + 1);
            }}
          >
            <Icon name="sound" /> {t("play-sound")}
          </button>
        )}
      </main>
      {panel !== "none" && (
        <aside
          className="room-panel"
          aria-label={t(PANELS[panel])}
          data-testid={`panel-${panel}`}
          onKeyDown={(event) => {
            if (event.key === "Escape") closePanel();
          }}
        >
          <header>
            <h2>{t(PANELS[panel])}</h2>
            <button
              className="icon-button"
              type="button"
              aria-label={t("close-panel", { panel: t(PANELS[panel]) })}
              data-testid="close-panel"
              onClick={closePanel}
            >
              <Icon name="close" />
            </button>
          </header>
          {panel === "chat" && <ChatPanel client={client} />}
          {panel === "people" && <PeoplePanel client={client} />}
          {panel === "devices" && <DeviceSettings media={media} />}
        </aside>
      )}
      <p className={notice === null ? "room-notice empty-notice" : "room-notice"} role="status" data-testid="room-notice">
        {notice}
      </p>
      <Bar
        client={client}
        media={media}
        raised={raised}
        panel={panel}
        setPanel={setPanel}
        unread={unread}
        tell={tell}
        onLeave={() => {
          client.disconnect();
        }}
      />
    </div>
  );
}

/** Publishes what is on, and says what the room does about it. */
function usePublishing({ client, media }: RoomModel, tell: (text: string) => void): void {
  useEffect(() => {
    const stop = publishAll(client, media, (kind, reason) => {
      media.close(kind);
      tell(t(NOT_TAKEN[kind], { reason }));
    });
    const stopMuted = client.on("muted-by", ({ peerId, kind }) => {
      media.close(kind);
      const moderator = client.participants.find((one) => one.peerId === peerId);
      const who = moderator === undefined ? t("a-moderator") : nameOf(moderator);
      tell(t(TURNED_OFF[kind], { who }));
    });
    const stopEnded = client.on("unpublished", ({ kind, reason }) => {
      if (reason === null) return;
      media.close(kind);
      tell(t(ENDED_BY[kind], { reason }));
    });
    return () => {
      stopMuted();
      stopEnded();
      stop();
    };
  }, [client, media, tell]);
}

function statusOf(state: Live, interrupted: boolean): { readonly tone: Tone; readonly text: string } {
  if (state.kind === "reconnecting") return { tone: "busy", text: t("room-reconnecting") };
  return interrupted ? { tone: "busy", text: t("room-interrupted") } : { tone: "good", text: t("room-connected") };
}
