/**
 * Which track and which information belong to which slot. Pure: tracks and messages in, a table out.
 *
 * A slot's tracks exist from the first offer on, whether it shows something or not; `streamInfo` tells
 * what it shows. The media section (`mid`) named there is authoritative; before it is known, the track's id
 * (`video0`, `audio0` …) says the slot, so that a picture can be on screen before any message has arrived.
 */

import type { ServerMessage, SlotState, StreamInfo } from "../generated";

/** A track as negotiated. `T` is `MediaStreamTrack` outside of tests. */
export type NegotiatedTrack<T> = {
  readonly mid: string;
  readonly trackId: string;
  readonly kind: "video" | "audio";
  readonly track: T;
};

/** The state of one slot. */
export type SlotEntry<T> = {
  readonly slot: number;
  /** Its content; null while it shows nothing. */
  readonly info: StreamInfo | null;
  readonly video: T | null;
  readonly audio: T | null;
  /** Its status for this client, as far as the server has reported it. */
  readonly status: SlotState | null;
  /** What this client sees in it: its own choice after a `switch`, otherwise what everybody sees. */
  readonly seen: SeenStream | null;
  readonly error: string | null;
};

/** A stream by its name, in a rendition. */
export type SeenStream = { readonly stream: string; readonly quality: string };

/** News of one slot. */
export type SlotEvent =
  /** It shows something now. */
  | { readonly type: "slot-activated"; readonly slot: number; readonly info: StreamInfo }
  /** The size, title or focus of its content has changed. */
  | { readonly type: "slot-updated"; readonly slot: number; readonly info: StreamInfo }
  /** It shows nothing any more. `info`: its last content; `reason`: the reason, unless it was requested. */
  | {
      readonly type: "slot-deactivated";
      readonly slot: number;
      readonly info: StreamInfo;
      readonly reason: string | null;
    }
  /** How it is doing at this client. */
  | {
      readonly type: "slot-status";
      readonly slot: number;
      readonly status: SlotState;
      readonly seen: SeenStream;
      readonly error: string | null;
    };

export type SlotTable<T> = ReadonlyMap<number, SlotEntry<T>>;

/** The slot in a track's id, if it has the usual form. */
export function slotOfTrackId(trackId: string): number | null {
  const digits = /^(?:video|audio)(\d{1,2})$/.exec(trackId)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Takes over the tracks of a new negotiation; the tracks of an earlier one are forgotten. */
export function withTracks<T>(table: SlotTable<T>, tracks: readonly NegotiatedTrack<T>[]): SlotTable<T> {
  const bare = new Map([...table].map(([slot, entry]) => [slot, { ...entry, video: null, audio: null }]));
  const result = new Map<number, SlotEntry<T>>(bare);
  for (const track of tracks) {
    const slot = slotOfMid(result, track) ?? slotOfTrackId(track.trackId);
    if (slot === null) continue;
    const entry = result.get(slot) ?? empty<T>(slot);
    result.set(slot, { ...entry, [track.kind]: track.track });
  }
  return sorted(result);
}

/** Applies a message about slots; returns the same table when it changes nothing. */
export function withMessage<T>(
  table: SlotTable<T>,
  tracks: readonly NegotiatedTrack<T>[],
  message: ServerMessage,
): SlotTable<T> {
  switch (message.type) {
    case "streams-info": {
      const cleared: SlotTable<T> = new Map(
        [...table].map(([slot, entry]) => [slot, { ...entry, info: null }]),
      );
      return message.streams.reduce<SlotTable<T>>((all, info) => withInfo(all, tracks, info), cleared);
    }
    case "stream-activated":
    case "stream-updated":
      return withInfo(table, tracks, message.streamInfo);
    case "stream-deactivated": {
      const gone = [...table.values()].find((entry) => entry.info?.trackId === message.trackId);
      return gone === undefined ? table : sorted(new Map(table).set(gone.slot, { ...gone, info: null }));
    }
    case "slot-status": {
      if (isRefusedSwitch(message)) return table;
      const { slot, status, stream, quality } = message;
      const entry = table.get(slot) ?? empty<T>(slot);
      const seen = stream === "" ? null : { stream, quality };
      return sorted(new Map(table).set(slot, { ...entry, status, seen, error: message.error ?? null }));
    }
    default:
      return table;
  }
}

/** The changes of a message, slot by slot, for listeners. `before`: the table without it. */
export function slotEvents<T>(before: SlotTable<T>, message: ServerMessage): readonly SlotEvent[] {
  switch (message.type) {
    case "streams-info": {
      const listed = new Set(message.streams.map(({ slot }) => slot));
      const gone = [...before.values()].flatMap(({ slot, info }): SlotEvent[] =>
        info === null || listed.has(slot) ? [] : [{ type: "slot-deactivated", slot, info, reason: null }],
      );
      return [...gone, ...message.streams.flatMap((info) => eventsOfInfo(before, info))];
    }
    case "stream-activated":
      return [{ type: "slot-activated", slot: message.streamInfo.slot, info: message.streamInfo }];
    case "stream-updated":
      return eventsOfInfo(before, message.streamInfo);
    case "stream-deactivated": {
      const gone = [...before.values()].find(({ info }) => info?.trackId === message.trackId);
      if (gone === undefined || gone.info === null) return [];
      const { slot, info } = gone;
      return [{ type: "slot-deactivated", slot, info, reason: message.reason ?? null }];
    }
    case "slot-status": {
      if (isRefusedSwitch(message)) return [];
      const { slot, status, stream, quality } = message;
      const error = message.error ?? null;
      return [{ type: "slot-status", slot, status, seen: { stream, quality }, error }];
    }
    default:
      return [];
  }
}

/** A failed switch leaves its slot as it was: such a status concerns only the request. */
function isRefusedSwitch(message: ServerMessage & { type: "slot-status" }): boolean {
  return message.requestId !== undefined && message.status === "error" && message.error !== CODEC_UNSUPPORTED;
}

/** The slot shows something that this browser cannot decode. */
const CODEC_UNSUPPORTED = "codec_unsupported";

function eventsOfInfo<T>(before: SlotTable<T>, info: StreamInfo): readonly SlotEvent[] {
  const { slot } = info;
  const known = before.get(slot)?.info ?? null;
  if (known?.source !== info.source) return [{ type: "slot-activated", slot, info }];
  return isSameInfo(known, info) ? [] : [{ type: "slot-updated", slot, info }];
}

function isSameInfo(a: StreamInfo, b: StreamInfo): boolean {
  const names = Object.keys({ ...a, ...b }) as (keyof StreamInfo)[];
  return names.every((name) => a[name] === b[name]);
}

function withInfo<T>(
  table: SlotTable<T>,
  tracks: readonly NegotiatedTrack<T>[],
  info: StreamInfo,
): SlotTable<T> {
  const entry = table.get(info.slot) ?? empty<T>(info.slot);
  const find = (mid: string | null, kind: "video" | "audio"): T | undefined =>
    tracks.find((track) => track.mid === mid && track.kind === kind)?.track;
  return sorted(
    new Map(table).set(info.slot, {
      ...entry,
      info,
      video: find(info.mid, "video") ?? entry.video,
      audio: find(info.audioMid, "audio") ?? entry.audio,
    }),
  );
}

function slotOfMid<T>(table: SlotTable<T>, track: NegotiatedTrack<T>): number | null {
  for (const { slot, info } of table.values()) {
    if (info !== null && (track.kind === "video" ? info.mid : info.audioMid) === track.mid) return slot;
  }
  return null;
}

function empty<T>(slot: number): SlotEntry<T> {
  return { slot, info: null, video: null, audio: null, status: null, seen: null, error: null };
}

function sorted<T>(table: SlotTable<T>): SlotTable<T> {
  return new Map([...table].sort(([a], [b]) => a - b));
}
