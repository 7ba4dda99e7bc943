/**
 * Messages of `multistream/*` as they cross the WebSocket: text in, checked message out. We send the flat
 * shape; a server that wraps everything but `type` in `value` is understood as well.
 */

import type { IceServer, MultistreamServerMessage, SlotState } from "../generated";

/** The wanted content of a slot. */
export type SlotConfig = {
  /** Counts from 0. */
  readonly slot: number;
  /** Name of a stream. */
  readonly stream: string;
  /** `""` or `"native"`: the stream itself; else a rendition as in `"360p"`. */
  readonly quality?: string;
};

/** How a slot is doing. */
export type SlotStatus = {
  readonly slot: number;
  readonly stream: string;
  /** Empty is the native one. */
  readonly quality: string;
  readonly status: SlotState;
  /** With `error` or `offline`: the reason. */
  readonly error: string | null;
};

/** A message of the server, as the rest of the client sees it. */
export type MultiServerMessage =
  | {
      readonly type: "ready";
      readonly requestId: string;
      /** For `init` after a lost WebSocket; null when the server cannot resume. */
      readonly session: string | null;
      /** The session goes on as it was: no offer is needed. */
      readonly resumed: boolean;
      readonly iceServers: readonly IceServer[];
    }
  | {
      readonly type: "answer";
      readonly requestId: string;
      readonly sdp: string;
      readonly slots: readonly SlotStatus[];
    }
  /** `requestId`: of the switch that it answers, else empty. */
  | { readonly type: "status"; readonly requestId: string; readonly status: SlotStatus }
  | { readonly type: "ice"; readonly candidate: string }
  /** The session is over, though we have not closed it. */
  | { readonly type: "disconnected"; readonly reason: string }
  /** `about`: the message that it answers, such as `multistream/init`. */
  | { readonly type: "error"; readonly about: string; readonly message: string };

export type ParsedMulti =
  | { readonly kind: "message"; readonly message: MultiServerMessage }
  /** A type that a newer server knows and we do not. */
  | { readonly kind: "unknown"; readonly type: string }
  | { readonly kind: "malformed"; readonly why: string };

type Fields = Readonly<Record<string, unknown>>;

/** The codes of this protocol's error texts: the same as everywhere else. */
const CODES: ReadonlyMap<string, string> = new Map([
  ["stream not found", "stream_not_found"],
  ["codec not supported", "codec_unsupported"],
  ["stream cannot be started", "source_failed"],
]);

const STATES: ReadonlySet<unknown> = new Set<SlotState>([
  "pending",
  "active",
  "buffering",
  "offline",
  "error",
  "inactive",
  "paused",
]);

/** Reads one message of the server. */
export function parseMultiMessage(text: string): ParsedMulti {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: "malformed", why: "not JSON" };
  }
  const outer = fieldsOf(parsed);
  if (outer === null || typeof outer.type !== "string") return { kind: "malformed", why: "no type" };
  if (!Object.hasOwn(READERS, outer.type)) return { kind: "unknown", type: outer.type };
  const message = READERS[outer.type as MultistreamServerMessage["type"]]({
    ...outer,
    ...fieldsOf(outer.value),
  });
  return message === null
    ? { kind: "malformed", why: `${outer.type} lacks a field` }
    : { kind: "message", message };
}

/** The compiler sees to it that there is one for each message of the server. */
const READERS: Readonly<
  Record<MultistreamServerMessage["type"], (fields: Fields) => MultiServerMessage | null>
> = {
  "multistream/ready": ({ request_id, session, resumed, ice_servers }) => ({
    type: "ready",
    requestId: textOr(request_id, ""),
    session: typeof session === "string" ? session : null,
    resumed: resumed === true,
    iceServers: Array.isArray(ice_servers) ? ice_servers.filter(isIceServer) : [],
  }),
  "multistream/answer": ({ request_id, sdp, slots }) =>
    typeof sdp === "string"
      ? { type: "answer", requestId: textOr(request_id, ""), sdp, slots: statusesOf(slots) }
      : null,
  "multistream/status": ({ request_id, slot, status }) => {
    const inner = fieldsOf(status);
    const read = inner === null ? null : statusOf({ slot, ...inner });
    return read === null ? null : { type: "status", requestId: textOr(request_id, ""), status: read };
  },
  "multistream/ice": ({ candidate, value }) => {
    const text = [candidate, value].find((field) => typeof field === "string");
    return typeof text === "string" ? { type: "ice", candidate: text } : null;
  },
  "multistream/disconnected": ({ reason }) => ({ type: "disconnected", reason: textOr(reason, "") }),
  error: ({ value }) => {
    if (typeof value !== "string") return null;
    const [about = "", ...rest] = value.split(": ");
    return rest.length === 0
      ? { type: "error", about: "", message: value }
      : { type: "error", about, message: rest.join(": ") };
  },
};

function statusesOf(value: unknown): readonly SlotStatus[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    const fields = fieldsOf(entry);
    const status = fields === null ? null : statusOf(fields);
    return status === null ? [] : [status];
  });
}

function isIceServer(value: unknown): value is IceServer {
  const urls = fieldsOf(value)?.urls;
  return Array.isArray(urls) && urls.every((url) => typeof url === "string");
}

/** By the server's name for the stream, which has the rendition in it. */
function statusOf({ slot, stream, status, error }: Fields): SlotStatus | null {
  if (typeof slot !== "number" || !STATES.has(status)) return null;
  return {
    slot,
    stream: textOr(stream, ""),
    quality: "",
    status: status as SlotState,
    error: typeof error === "string" && error !== "" ? (CODES.get(error) ?? error) : null,
  };
}

function fieldsOf(value: unknown): Fields | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise;
}
