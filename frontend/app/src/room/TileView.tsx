import { type InputController, type OrielClient, playStream, type SlotView } from "@oriel/client";
import { useEffect, useRef, useState } from "react";
import { Icon } from "./Icon";
import type { Box } from "./layout";
import { initialsOf, type Tile } from "./people";
import { t } from "../i18n/words";

type TileViewProps = {
  readonly client: OrielClient;
  readonly tile: Tile;
  /** Where it stands; null while there is no room for it: it is heard and not seen. */
  readonly box: Box | null;
  readonly view: SlotView | null;
  /** The camera of whoever sits here, if it is this tile's. */
  readonly local: MediaStreamTrack | null;
  readonly large: boolean;
  readonly pinned: boolean;
  readonly reaction: string | null;
  /** The browser lets sounds be played only after a click. */
  readonly onBlocked: () => void;
  /** Counts the clicks that allow sound. */
  readonly allowed: number;
  readonly onPin: () => void;
};

/** One person, screen or desktop. */
export function TileView(props: TileViewProps) {
  const { client, tile, box, view, local, large, pinned, reaction } = props;
  const [steering, setSteering] = useState(false);
  const steerable = tile.kind === "source" && view?.info?.input === true && client.role === "controller";
  const pictured = tile.own ? local !== null : tile.pictured && view !== null;
  const waiting = tile.pictured && !tile.own && view === null;
  const label = describe(tile, waiting);
  const classes = ["room-tile", tile.kind, tile.speaking ? "speaking" : "", large ? "large" : ""];
  return (
    <div
      role="group"
      className={classes.filter((name) => name !== "").join(" ")}
      aria-label={label}
      hidden={box === null}
      data-testid="tile"
      data-key={tile.key}
      data-name={tile.name}
      data-own={tile.own}
      data-muted={tile.muted}
      data-speaking={tile.speaking}
      data-slot={tile.slot}
      onClick={({ target }) => {
        // A finger has nothing to find the button with.
        const onTool = target instanceof Element && target.closest("button") !== null;
        if (!onTool && !steering && matchMedia("(hover: none)").matches) props.onPin();
      }}
      style={
        box === null ? undefined : { transform: `translate(${box.x}px, ${box.y}px)`, width: box.width, height: box.height }
      }
    >
      {!pictured && (
        <div className="no-picture" aria-hidden="true">
          {tile.kind === "person" ? <span>{initialsOf(tile.name)}</span> : <Icon name="share" />}
        </div>
      )}
      {tile.own && local !== null && <LocalVideo track={local} testId="own-video" />}
      {view !== null && (
        <RemoteVideo
          client={client}
          view={view}
          pictured={pictured}
          steering={steering && steerable}
          allowed={props.allowed}
          onBlocked={props.onBlocked}
        />
      )}
      {waiting && <p className="tile-note">{tile.kind === "person" ? "" : t("waiting-for-place")}</p>}
      <footer className="tile-caption" aria-hidden="true">
        {tile.kind === "person" && tile.muted && <Icon name="microphone-off" />}
        {tile.handRaised && <Icon name="hand" />}
        <span data-testid="tile-name">{tile.own ? t("name-you", { name: tile.name }) : tile.name}</span>
      </footer>
      {reaction !== null && (
        <span className="reaction" role="img" aria-label={t("shows-emoji", { name: tile.name, emoji: reaction })} data-testid="reaction">
          {reaction}
        </span>
      )}
      <div className="tile-tools">
        {steerable && (
          <button
            className="icon-button"
            type="button"
            aria-pressed={steering}
            aria-label={t("steer-what", { name: tile.name })}
            title={steering ? t("steer-stop") : t("steer")}
            data-testid="steer"
            onClick={() => {
              if (!client.inControl) client.requestControl();
              setSteering(!steering);
            }}
          >
            <Icon name="pointer" />
          </button>
        )}
        <button
          className="icon-button"
          type="button"
          aria-pressed={pinned}
          aria-label={t("pin-what", { name: tile.name })}
          title={pinned ? t("unpin") : t("pin")}
          data-testid="pin"
          onClick={props.onPin}
        >
          <Icon name="pin" />
        </button>
      </div>
    </div>
  );
}

/** What a screen reader says of a tile. */
function describe(tile: Tile, waiting: boolean): string {
  const parts = [tile.own ? t("name-you", { name: tile.name }) : tile.name];
  if (tile.kind === "person") {
    if (tile.muted) parts.push(t("tile-muted"));
    if (!tile.pictured) parts.push(t("tile-camera-off"));
    if (tile.speaking) parts.push(t("tile-speaking"));
    if (tile.handRaised) parts.push(t("tile-hand"));
  }
  if (waiting) parts.push(t("tile-not-shown"));
  return parts.join(", ");
}

type RemoteVideoProps = {
  readonly client: OrielClient;
  readonly view: SlotView;
  readonly pictured: boolean;
  readonly steering: boolean;
  readonly allowed: number;
  readonly onBlocked: () => void;
};

/** Picture and sound of a slot in one element, so that they are in step. */
function RemoteVideo({ client, view, pictured, steering, allowed, onBlocked }: RemoteVideoProps) {
  const video = useRef<HTMLVideoElement>(null);
  const { stream, slot } = view;
  useEffect(() => {
    const element = video.current;
    if (element === null) return;
    element.muted = false;
    void playStream(element, stream).then((how) => {
      if (how !== "with-sound") onBlocked();
    });
  }, [stream, allowed, onBlocked]);
  useEffect(() => {
    const element = video.current;
    if (element === null || !steering) return undefined;
    const input: InputController = client.attachInput(element, { slot });
    input.focus();
    return () => {
      input.detach();
    };
  }, [client, slot, steering]);
  return (
    <div className="tile-surface">
      <video
        ref={video}
        className={pictured ? "" : "unseen"}
        autoPlay
        playsInline
        disablePictureInPicture
        disableRemotePlayback
        data-testid="tile-video"
      />
    </div>
  );
}

/** One's own camera, mirrored: so people know themselves. */
export function LocalVideo({ track, testId }: { readonly track: MediaStreamTrack; readonly testId: string }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const element = video.current;
    if (element === null) return;
    element.muted = true;
    void playStream(element, track);
  }, [track]);
  return <video ref={video} className="mirrored" muted autoPlay playsInline data-testid={testId} />;
}
