/** Messages among the peers of a streamer: chat, reactions, raised hands, and what moderators do. */

import type { ClientMessage, PeerId, PublishKind, ServerMessage } from "../generated";

/** Client to server. */
export type RoomRequestMessage =
  | { readonly type: "chat"; readonly text: string }
  | { readonly type: "react"; readonly emoji: string }
  | { readonly type: "raise-hand"; readonly raised: boolean }
  | { readonly type: "set-muted"; readonly muted: boolean }
  | { readonly type: "mute-peer"; readonly peerId: PeerId; readonly kind: PublishKind }
  | { readonly type: "remove-peer"; readonly peerId: PeerId };

/** One message of the chat. */
export type ChatMessage = {
  /** Counts up within a room. */
  readonly id: number;
  readonly peerId: PeerId;
  /** Of its writer, as it was then. */
  readonly name?: string;
  readonly text: string;
  /** When it came (RFC 3339). */
  readonly at: string;
};

/** Server to client. */
export type RoomServerMessage =
  | ({ readonly type: "chat" } & ChatMessage)
  | { readonly type: "chat-history"; readonly messages: readonly ChatMessage[] }
  | { readonly type: "reaction"; readonly peerId: PeerId; readonly emoji: string }
  | { readonly type: "muted-by"; readonly peerId: PeerId; readonly kind: PublishKind };

export type Outgoing = ClientMessage | RoomRequestMessage;
export type Incoming = ServerMessage | RoomServerMessage;
