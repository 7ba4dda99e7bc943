/**
 * Oriel's browser SDK: watch and steer sessions, without a framework. `@oriel/client/api` is the REST API alone, also for Node;
 * `@oriel/client/multistream` shows many streams over one connection.
 *
 * ```ts
 * const client = new OrielClient({ streamerId: "demo" });
 * client.on("slots", (slots) => { video.srcObject = slots.get(0)?.stream ?? null; });
 * await client.connect();
 * client.attachInput(video, { slot: 0 });
 * ```
 */

export * from "./rest";
export { OrielClient, type ClientOptions } from "./client";
export { OrielError, type ErrorReason } from "./errors";
export { type EventSource, type Listener, type ListenOptions } from "./events";
export { type ClipboardCopy, type ClipboardOutcome, copy as copyToClipboard } from "./input/clipboard";
export { InputController, type InputEvents, type InputOptions } from "./input/controller";
export { containedRect, fromPicture, pictureSize, type Rect, type Size } from "./input/geometry";
export type { KeyboardMode } from "./input/keys";
export type { TouchMode } from "./input/pointer";
export type { Sticky, StickyModifier, StickyState } from "./input/sticky";
export { type Playing, playStream } from "./play";
export type { Negotiation } from "./link";
export type { Latency } from "./peer/glass";
export type { SeenStream, SlotEvent } from "./peer/slots";
export type { ConnectionStats } from "./peer/stats";
export { keyOf as chatKeyOf } from "./chat";
export type { ConnectStep, EndReason } from "./session";
export type { ClientState } from "./state";
export type { Publication, PublishOptions } from "./publications";
export { peerSocketUrl } from "./signaling/socket";
export type { ClientEvents, InputClient, NetworkPath, SlotView } from "./view";
