/** What a client exposes of its session: its slots, and events about changes. Types only. */

import type {
  ChatMessage,
  Control,
  CursorShape,
  FileEntry,
  GeneralMessage,
  KeysMessage,
  MotionMessage,
  Participant,
  PeerRight,
  PublishKind,
  Role,
  ServerMessage,
  SlotState,
  StreamerState,
  StreamInfo,
} from "./generated";
import type { Api } from "./api";
import type { EventSource } from "./events";
import type { ClipboardCopy } from "./input/clipboard";
import type { SeenStream, SlotEvent } from "./peer/slots";
import type { Publication } from "./publications";
import type { ClientState } from "./state";

/** The content of a slot, with its tracks in a stream of their own that lives as long as they do. */
export type SlotView = {
  readonly slot: number;
  /** Null while it shows nothing. */
  readonly info: StreamInfo | null;
  readonly stream: MediaStream;
  /** How it is doing at this client. */
  readonly status: SlotState | null;
  /** What this client sees in it: its own choice after a switch, otherwise what everybody sees. */
  readonly seen: SeenStream | null;
  readonly error: string | null;
};

type SlotNews = { [E in SlotEvent as E["type"]]: E };

export type ClientEvents = {
  state: ClientState;
  /** {@link OrielClient.slots} has changed. */
  slots: ReadonlyMap<number, SlotView>;
  /** A slot shows something now. */
  "slot-activated": SlotNews["slot-activated"];
  /** The size, title or focus of a slot's content has changed. */
  "slot-updated": SlotNews["slot-updated"];
  /** A slot shows nothing any more; with the reason, unless it was requested. */
  "slot-deactivated": SlotNews["slot-deactivated"];
  /** How a slot is doing at this client. */
  "slot-status": SlotNews["slot-status"];
  role: Role;
  /** What this client may do among the peers. */
  rights: readonly PeerRight[];
  /** {@link OrielClient.chat} has changed. */
  chat: readonly ChatMessage[];
  /** Somebody, perhaps this client, has just written something; it is in the chat already. */
  "chat-message": ChatMessage;
  /** Somebody shows an emoji. */
  reaction: Extract<ServerMessage, { type: "reaction" }>;
  /** A moderator has stopped what this client published of a kind; `peerId` is the moderator. */
  "muted-by": Extract<ServerMessage, { type: "muted-by" }>;
  /** Who may steer has changed. */
  control: Control;
  participants: readonly Participant[];
  "streamer-state": { readonly state: StreamerState; readonly reason: string | null };
  /** The media path is about to be closed: the last moment to keep its last picture. */
  "media-closing": undefined;
  /** The streamer has been silent for some seconds, or is heard again. */
  interrupted: boolean;
  /** Input can be sent, or no longer. */
  input: boolean;
  cursor: Extract<GeneralMessage, { type: "cursor" }>;
  "cursor-position": Extract<GeneralMessage, { type: "cursor-position" }>;
  /** Where others point now who have moved; with the option `pointers`. Without `place` somebody points nowhere any more. */
  pointers: Extract<GeneralMessage, { type: "pointers" }>;
  /** A gamepad is to shake. */
  rumble: Extract<GeneralMessage, { type: "rumble" }>;
  /** What this client's network allows has changed, as far as its pictures depend on it. */
  path: NetworkPath;
  /** Something was copied in the session, perhaps the same as before. */
  clipboard: ClipboardCopy;
  /** A file was finished in `Downloads` of the session's home: `api.file()` gives it. */
  download: FileEntry;
  /** What this client publishes is a source now, or has another slot. */
  published: Publication;
  /** Something is not published any more; with the reason, if this client has not asked for it. */
  unpublished: { readonly kind: PublishKind; readonly reason: string | null };
  /** The session's programs hear this client's microphone, or no more; with the reason, if it has not asked for that. */
  "session-microphone": { readonly enabled: boolean; readonly reason: string | null };
  /** The session's programs see this client's camera, or no more; with the reason, if it has not asked for that. */
  "session-camera": { readonly enabled: boolean; readonly reason: string | null };
  /** The server or the streamer refused something. */
  refused: { readonly code: string; readonly message: string };
};

/** What the network allows, as far as pictures depend on it. */
export type NetworkPath = {
  /** Bits per second for pictures; null while the network has shown no limit. */
  readonly allowsBps: number | null;
  /** Pictures have less detail than without that limit, or there are fewer of them. */
  readonly reduced: boolean;
};

/** A message of motion before it has its sequence number. */
export type WithoutSeq<M> = M extends unknown ? Omit<M, "seq"> : never;

/** The client's interface for input. */
export interface InputClient extends EventSource<ClientEvents> {
  readonly streamerId: string;
  readonly api: Pick<Api, "clipboardPicture">;
  readonly slots: ReadonlyMap<number, SlotView>;
  /** Input would arrive now. */
  readonly inputOpen: boolean;
  /** The cursor over a slot; null while it is hidden, undefined while it is unknown. */
  cursorShape(slot: number): CursorShape | null | undefined;
  /** Sends on the channel for keys; false when it could not be sent. */
  sendKeys(message: KeysMessage): boolean;
  /** Resolves when little waits on the channel for keys; false when it is closed. */
  keysDrained(): Promise<boolean>;
  /** Sends on the lossy channel for motion; false when it could not be sent. */
  sendMotion(message: WithoutSeq<MotionMessage>): boolean;
}
