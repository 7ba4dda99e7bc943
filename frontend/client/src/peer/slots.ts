/**
 * Which track and which information belong to which slot. Pure: tracks and messages in, a table out.
 *
 * A slot's tracks are there from the first offer on, whether it shows something or not; `streamInfo` says
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

/** What is known of one slot. */
export type SlotEntry<T> = {
  readonly slot: number;
  /** What it shows; null while it shows nothing. */
  readonly info: StreamInfo | null;
  readonly video: T | null;
  readonly audio: T | null;
  /** How it is doing, as far as the server has said. */
  readonly status: SlotState | null;
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

/** Takes over what a message says about slots; the same table when it says nothing. */
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
      const entry = table.get(message.slot) ?? empty<T>(message.slot);
      const error = message.error ?? null;
      return sorted(new Map(table).set(message.slot, { ...entry, status: message.status, error }));
    }
    default:
      return table;
  }
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
  return { slot, info: null, video: null, audio: null, status: null, error: null };
}

function sorted<T>(table: SlotTable<T>): SlotTable<T> {
  return new Map([...table].sort(([a], [b]) => a - b));
}
