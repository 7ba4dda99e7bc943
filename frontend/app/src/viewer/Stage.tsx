import type { OrielClient, SlotView } from "@oriel/client";
import { type DragEvent, type KeyboardEvent, useCallback, useState } from "react";
import { TONES } from "@oriel/react";
import { type Arrangement, neighbour } from "./arrangement";
import { useClientValue } from "./hooks";
import { labelOf } from "./label";
import type { Views } from "./views";
import { SLOT_WORDS } from "../ui/states";
import { t } from "../i18n/words";

type StageProps = {
  readonly client: OrielClient;
  readonly views: Views;
  readonly arrangement: Arrangement;
  /** The picture is not live: shown dimmed. */
  readonly dimmed: boolean;
  /** The row of thumbnails is open. */
  readonly thumbnails: boolean;
};

/** The type of dragged thumbnails. */
const DRAG_TYPE = "application/x-oriel-slot";

/**
 * One slot large, the others in a row below. Each slot keeps its element in the same place of the document, and
 * only its style moves it: a video that is removed from the document stops.
 */
export function Stage({ client, views, arrangement, dimmed, thumbnails }: StageProps) {
  const slots = useClientValue(client, "slots", (current) => current.slots);
  const [over, setOver] = useState<number | null>(null);
  const inPlace = [...arrangement.order].sort((a, b) => a - b);
  const row = thumbnails && inPlace.length > 1;
  return (
    <div className={row ? "stage with-row" : "stage"} data-testid="stage">
      <div
        className="row-of-tiles"
        role={row ? "group" : undefined}
        aria-label={row ? t("also-shared") : undefined}
      >
        {inPlace.map((slot) => (
          <Tile
            key={slot}
            slot={slot}
            view={slots.get(slot) ?? null}
            views={views}
            arrangement={arrangement}
            dimmed={dimmed}
            over={over === slot}
            onOver={setOver}
          />
        ))}
      </div>
    </div>
  );
}

type TileProps = {
  readonly slot: number;
  readonly view: SlotView | null;
  readonly views: Views;
  readonly arrangement: Arrangement;
  readonly dimmed: boolean;
  /** Something is dragged over it. */
  readonly over: boolean;
  readonly onOver: (slot: number | null) => void;
};

function Tile({ slot, view, views, arrangement, dimmed, over, onOver }: TileProps) {
  const { setStill, setVideo } = views.screen(slot);
  const main = slot === arrangement.main;
  const info = view?.info ?? null;
  const label = info === null ? t("slot", { slot: String(slot) }) : labelOf(info);
  const status = view?.status ?? "pending";
  const watch = useCallback(
    (tile: HTMLDivElement | null) => (tile === null ? undefined : views.watchTile(slot, tile)),
    [views, slot],
  );
  const drag = main ? {} : dragging(slot, views, onOver);
  return (
    <div
      ref={watch}
      className={["tile", main ? "main" : "thumb", over ? "over" : ""].join(" ")}
      style={{ order: arrangement.order.indexOf(slot) }}
      data-testid={main ? "main-view" : `thumb-${slot}`}
      data-slot={slot}
      data-status={status}
      {...(main
        ? {}
        : {
            title: t("tile-hint", { label }),
            draggable: true,
            onClick: () => {
              views.pick(slot);
            },
          })}
      {...drag}
    >
      <div
        className={main && dimmed ? "surface dimmed" : "surface"}
        data-testid={main ? "surface" : "thumb-surface"}
      >
        <video
          ref={setVideo}
          muted
          autoPlay
          playsInline
          disablePictureInPicture
          disableRemotePlayback
          data-testid={main ? "video" : "thumb-video"}
        />
        <canvas ref={setStill} className="still" />
      </div>
      {!main && (
        <button
          className="thumb-caption"
          type="button"
          aria-description={t("enlarge", { label })}
          onKeyDown={(event) => {
            moveByKey(event, slot, views, arrangement);
          }}
        >
          <span className={`pill ${TONES[status]}`} data-testid="slot-status">
            <span className="dot" aria-hidden="true" />
            {status === "active" ? null : t(SLOT_WORDS[status])}
          </span>
          <span className="thumb-label">{label}</span>
        </button>
      )}
    </div>
  );
}

/** Dragging a thumbnail to the place of another. */
function dragging(slot: number, views: Views, onOver: (slot: number | null) => void) {
  const isThumbnail = (event: DragEvent): boolean => event.dataTransfer.types.includes(DRAG_TYPE);
  return {
    onDragStart: (event: DragEvent): void => {
      event.dataTransfer.setData(DRAG_TYPE, String(slot));
      event.dataTransfer.effectAllowed = "move";
    },
    onDragOver: (event: DragEvent): void => {
      if (!isThumbnail(event)) return;
      event.preventDefault();
      onOver(slot);
    },
    onDragLeave: (): void => {
      onOver(null);
    },
    onDragEnd: (): void => {
      onOver(null);
    },
    onDrop: (event: DragEvent): void => {
      if (!isThumbnail(event)) return;
      event.preventDefault();
      onOver(null);
      views.move(Number(event.dataTransfer.getData(DRAG_TYPE)), slot);
    },
  };
}

/** Control and an arrow key do the same as dragging. */
function moveByKey(event: KeyboardEvent, slot: number, views: Views, arrangement: Arrangement): void {
  if (!event.ctrlKey || (event.key !== "ArrowLeft" && event.key !== "ArrowRight")) return;
  event.preventDefault();
  const to = neighbour(arrangement, slot, event.key === "ArrowRight" ? 1 : -1);
  if (to !== null) views.move(slot, to);
}
