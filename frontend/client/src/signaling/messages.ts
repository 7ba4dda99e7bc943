/**
 * Signalling messages as they cross the WebSocket: text in, checked message out. The types are generated
 * from the server's; this checks that what arrived has the fields that its type promises.
 */

import type { ClientMessage, ServerMessage } from "../generated";

type Kind = "string" | "number" | "boolean" | "array" | "object";

const REQUIRED: Record<ServerMessage["type"], Record<string, Kind>> = {
  welcome: {
    peerId: "string",
    resumeToken: "string",
    resumed: "boolean",
    role: "string",
    iceServers: "array",
  },
  offer: { sdp: "string" },
  candidate: { candidate: "string" },
  "streams-info": { streams: "array" },
  "stream-activated": { streamInfo: "object" },
  "stream-deactivated": { trackId: "string" },
  "stream-updated": { streamInfo: "object" },
  "slot-status": { slot: "number", status: "string" },
  "streamer-state": { state: "string" },
  role: { role: "string" },
  rights: { rights: "array" },
  control: { mode: "string", requests: "array" },
  participants: { participants: "array" },
  chat: { id: "number", peerId: "string", text: "string", at: "string" },
  "chat-history": { messages: "array" },
  reaction: { peerId: "string", emoji: "string" },
  "muted-by": { peerId: "string", kind: "string" },
  published: { kind: "string", source: "string" },
  unpublished: { kind: "string" },
  "session-microphone": { enabled: "boolean" },
  "session-camera": { enabled: "boolean" },
  "publish-layers": { kind: "string", layers: "array" },
  error: { code: "string", message: "string" },
};

export type Parsed =
  | { readonly kind: "message"; readonly message: ServerMessage }
  /** A type that a newer server knows and we do not: not an error, just not for us. */
  | { readonly kind: "unknown"; readonly type: string }
  | { readonly kind: "malformed"; readonly why: string };

/** Reads one message of the server. */
export function parseServerMessage(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: "malformed", why: "not JSON" };
  }
  if (typeof value !== "object" || value === null) return { kind: "malformed", why: "not an object" };
  const fields: Record<string, unknown> = { ...value };
  if (typeof fields.type !== "string") return { kind: "malformed", why: "no type" };
  const required = Object.hasOwn(REQUIRED, fields.type)
    ? REQUIRED[fields.type as ServerMessage["type"]]
    : undefined;
  if (required === undefined) return { kind: "unknown", type: fields.type };
  for (const [name, kind] of Object.entries(required)) {
    if (kindOf(fields[name]) !== kind)
      return { kind: "malformed", why: `${fields.type}.${name} is no ${kind}` };
  }
  return { kind: "message", message: value as ServerMessage };
}

export function encodeClientMessage(message: ClientMessage): string {
  return JSON.stringify(message);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}
