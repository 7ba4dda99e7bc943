/**
 * Oriel's browser SDK: watch and steer sessions, without a framework.
 *
 * ```ts
 * const client = new OrielClient({ streamerId: "demo" });
 * client.on("slots", (slots) => { video.srcObject = slots.get(0)?.stream ?? null; });
 * await client.connect();
 * client.attachInput(video, { slot: 0 });
 * ```
 */

export {
  type AddHostRequest,
  Api,
  type CallOptions,
  type ControlRequest,
  type CreateRequest,
  type RoomRequest,
  type SlotRequest,
  type SizeRequest,
  type SnapshotOptions,
  type SourceRequest,
  type TokenRequest,
  type TokenSource,
} from "./api";
export { OrielClient, type ClientOptions } from "./client";
export { OrielError, ProblemError, type ErrorReason } from "./errors";
export { type EventSource, type Listener, type ListenOptions } from "./events";
export type * from "./generated";
export { type ClipboardCopy, type ClipboardOutcome, copy as copyToClipboard } from "./input/clipboard";
export { InputController, type InputEvents, type InputOptions } from "./input/controller";
export { containedRect, type Rect, type Size } from "./input/geometry";
export type { KeyboardMode } from "./input/keys";
export type { TouchMode } from "./input/pointer";
export type { Sticky, StickyModifier, StickyState } from "./input/sticky";
export {
  ALL_SLOTS,
  type AudioMode,
  isHeard,
  multiSocketUrl,
  MultiStreamClient,
  type MultiStreamEvents,
  type MultiStreamOptions,
  type SlotConfig,
  type SlotStatus,
} from "./multistream";
export { type Playing, playStream } from "./play";
export type { Negotiation } from "./link";
export type { SeenStream, SlotEvent } from "./peer/slots";
export type { ConnectionStats } from "./peer/stats";
export { keyOf as chatKeyOf } from "./chat";
export type { ConnectStep, EndReason } from "./session";
export type { ClientState } from "./state";
export type { Publication, PublishOptions } from "./publications";
export { peerSocketUrl } from "./signaling/socket";
export type { ClientEvents, InputClient, NetworkPath, SlotView } from "./view";
