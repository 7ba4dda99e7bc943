import type { MultiStreamClient, SlotStatus, TokenSource } from "@oriel/client";
import { type CSSProperties, useEffect, useMemo, useRef, useState } from "react";
import { explain, type GridSlot, normalise, type Tile } from "./slots";
import { StatusBadge } from "./StatusBadge";
import { StreamVideo } from "./StreamVideo";
import { useMultiStream } from "./useMultiStream";

export type CameraGridProps = {
  /** Root of the web-server. */
  readonly server: string | URL;
  /** Shown to the server, where it asks for one. */
  readonly token?: TokenSource;
  /** What to show, in order. Another stream in a place is a switch, not another connection. */
  readonly slots: readonly GridSlot[];
  /** Sound of the enlarged stream off. Default: true. In the grid all are silent. */
  readonly muted?: boolean;
  /** Columns; chosen from the number of streams when absent. */
  readonly columns?: number;
  /** Gets the connection, for what the components do not show. */
  readonly onClient?: (client: MultiStreamClient) => void;
};

/**
 * Many streams over one connection. A click enlarges one, in its better quality if it has one; what is scrolled
 * out of view is not sent.
 */
export function CameraGrid(props: CameraGridProps) {
  const { server, token = null, slots, muted = true, columns, onClient } = props;
  // By content: a list that is made anew on each rendering is still the same list.
  const key = JSON.stringify(slots);
  const base = useMemo(() => normalise(JSON.parse(key) as GridSlot[]), [key]);
  const [enlarged, setEnlarged] = useState<number | null>(null);
  const shown = enlarged !== null && enlarged < base.length ? enlarged : null;
  const tiles = useMemo(
    () => base.map((tile) => (tile.slot === shown ? { ...tile, quality: tile.enlargedQuality } : tile)),
    [base, shown],
  );
  const { client, statuses, refused } = useMultiStream(server, tiles, token);
  useEffect(() => {
    if (client !== null) onClient?.(client);
  }, [client, onClient]);
  useEffect(() => {
    if (shown === null) return undefined;
    const leave = (event: KeyboardEvent): void => {
      if (event.key === "Escape") setEnlarged(null);
    };
    window.addEventListener("keydown", leave);
    return () => {
      window.removeEventListener("keydown", leave);
    };
  }, [shown]);

  const side = columns ?? Math.ceil(Math.sqrt(tiles.length));
  const style = { "--oriel-columns": side } as CSSProperties;
  return (
    <div
      className={shown === null ? "oriel-grid" : "oriel-grid oriel-has-large"}
      style={style}
      data-testid="camera-grid"
    >
      {refused !== null && (
        <p className="oriel-refused" role="alert">
          {refused}
        </p>
      )}
      {tiles.map((tile) => (
        <GridTile
          key={tile.slot}
          tile={tile}
          client={client}
          status={statuses.get(tile.slot) ?? null}
          large={tile.slot === shown}
          muted={muted || tile.slot !== shown}
          onToggle={() => {
            setEnlarged(tile.slot === shown ? null : tile.slot);
          }}
        />
      ))}
    </div>
  );
}

type GridTileProps = {
  readonly tile: Tile;
  readonly client: MultiStreamClient | null;
  readonly status: SlotStatus | null;
  readonly large: boolean;
  readonly muted: boolean;
  readonly onToggle: () => void;
};

function GridTile({ tile, client, status, large, muted, onToggle }: GridTileProps) {
  const element = useRef<HTMLButtonElement>(null);
  usePausedOutOfView(client, tile.slot, element);
  const text = explain(status);
  return (
    <button
      ref={element}
      className={large ? "oriel-tile oriel-large" : "oriel-tile"}
      type="button"
      onClick={onToggle}
      aria-pressed={large}
      title={large ? "Back to the grid" : `Enlarge ${tile.label}`}
      data-testid={`tile-${tile.slot}`}
      data-stream={tile.stream}
    >
      <StreamVideo client={client} slot={tile.slot} muted={muted} label={tile.label} />
      {text !== null && (
        <span className="oriel-text" role="status">
          {text}
        </span>
      )}
      <span className="oriel-caption">
        <span className="oriel-label">{tile.label}</span>
        <StatusBadge status={status?.status ?? "pending"} />
      </span>
    </button>
  );
}

/** What nobody can see is not sent. */
function usePausedOutOfView(
  client: MultiStreamClient | null,
  slot: number,
  element: { readonly current: HTMLElement | null },
): void {
  useEffect(() => {
    if (client === null || element.current === null) return undefined;
    const observer = new IntersectionObserver((entries) => {
      const visible = entries.at(-1)?.isIntersecting ?? true;
      if (visible && client.isPaused(slot)) client.resume(slot);
      else if (!visible && !client.isPaused(slot)) client.pause(slot);
    });
    observer.observe(element.current);
    return () => {
      observer.disconnect();
    };
  }, [client, slot, element]);
}
