import type { TokenSource } from "@oriel/client";
import { type AudioMode, isHeard, type MultiStreamClient, type SlotStatus } from "@oriel/client/multistream";
import {
  type CSSProperties,
  type DragEvent,
  type KeyboardEvent as TileKeyEvent,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { explain, type GridSlot, moved, normalise, type Tile } from "./slots";
import { StatusBadge } from "./StatusBadge";
import { StreamVideo } from "./StreamVideo";
import { useMultiStream } from "./useMultiStream";
import { WordsContext } from "./words";

export type CameraGridProps = {
  /** Root of the web-server. */
  readonly server: string | URL;
  /** Shown to the server, where it asks for one. */
  readonly token?: TokenSource;
  /** The streams, in order. Changing the stream of a tile switches it, without another connection. */
  readonly slots: readonly GridSlot[];
  /** All sound off. Default: true. */
  readonly muted?: boolean;
  /** Which streams are heard: the enlarged one, the first, or all. Default: `focused`. */
  readonly audio?: AudioMode;
  /** Columns; chosen from the number of streams when absent. */
  readonly columns?: number;
  /** Called with the streams in their new order when somebody has dragged a tile to another place. */
  readonly onRearrange?: (streams: readonly string[]) => void;
  /** Receives the client, for what the components do not offer. */
  readonly onClient?: (client: MultiStreamClient) => void;
};

/** The type of dragged tiles. */
const DRAG_TYPE = "application/x-oriel-tile";

/**
 * Many streams over one connection. A click enlarges one, in its better quality if it has one; dragging puts one to the
 * place of another; what is scrolled out of view is not sent.
 *
 * Each slot keeps its element in the same place of the document, and style alone moves it: a video that is taken out of
 * the document stops.
 */
export function CameraGrid(props: CameraGridProps) {
  const { server, token = null, slots, muted = true, audio = "focused", columns, onClient, onRearrange } = props;
  // Compared by content: an equal list of another rendering is the same list.
  const key = JSON.stringify(slots);
  const base = useMemo(() => normalise(JSON.parse(key) as GridSlot[]), [key]);
  const [enlarged, setEnlarged] = useState<number | null>(null);
  // Of other streams than those that were arranged, it means nothing.
  const [arranged, setArranged] = useState<{ key: string; order: readonly number[] } | null>(null);
  const order = arranged?.key === key ? arranged.order : base.map(({ slot }) => slot);
  const move = (from: number, to: number): void => {
    const after = moved(order, from, to);
    if (after === order) return;
    setArranged({ key, order: after });
    onRearrange?.(after.flatMap((slot) => base[slot]?.stream ?? []));
  };
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
          place={order.indexOf(tile.slot)}
          onMove={move}
          onStep={(step) => {
            move(tile.slot, order[order.indexOf(tile.slot) + step] ?? tile.slot);
          }}
          muted={muted || !isHeard(audio, tile.slot, shown)}
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
  /** Its place among the others. */
  readonly place: number;
  readonly muted: boolean;
  readonly onToggle: () => void;
  /** Puts a tile to the place of another. */
  readonly onMove: (from: number, to: number) => void;
  /** Puts this tile one place on, or back. */
  readonly onStep: (step: 1 | -1) => void;
};

/** A button in all but its element: not all browsers drag buttons. */
function GridTile({ tile, client, status, large, place, muted, onToggle, onMove, onStep }: GridTileProps) {
  const element = useRef<HTMLDivElement>(null);
  const [over, setOver] = useState(false);
  usePausedOutOfView(client, tile.slot, element);
  const words = useContext(WordsContext);
  const text = explain(status, words);
  const key = (event: TileKeyEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : null;
    if (event.ctrlKey && step !== null) onStep(step);
    else if (event.key === "Enter" || event.key === " ") onToggle();
    else return;
    event.preventDefault();
  };
  return (
    <div
      ref={element}
      className={["oriel-tile", large ? "oriel-large" : "", over ? "oriel-over" : ""].join(" ").trim()}
      style={large ? undefined : { order: place }}
      role="button"
      tabIndex={0}
      draggable={!large}
      onClick={onToggle}
      onKeyDown={key}
      {...dragging(tile.slot, setOver, onMove)}
      aria-pressed={large}
      title={large ? words.backToGrid : words.tileHint(tile.label)}
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
    </div>
  );
}

/** Dragging a tile to the place of another. */
function dragging(slot: number, setOver: (over: boolean) => void, onMove: (from: number, to: number) => void) {
  const isTile = (event: DragEvent): boolean => event.dataTransfer.types.includes(DRAG_TYPE);
  return {
    onDragStart: (event: DragEvent): void => {
      event.dataTransfer.setData(DRAG_TYPE, String(slot));
      event.dataTransfer.effectAllowed = "move";
    },
    onDragOver: (event: DragEvent): void => {
      if (!isTile(event)) return;
      event.preventDefault();
      setOver(true);
    },
    onDragLeave: (): void => {
      setOver(false);
    },
    onDrop: (event: DragEvent): void => {
      if (!isTile(event)) return;
      event.preventDefault();
      setOver(false);
      onMove(Number(event.dataTransfer.getData(DRAG_TYPE)), slot);
    },
  };
}

/** Pauses slots that are out of view. */
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
