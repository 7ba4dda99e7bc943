/**
 * Many streams over one connection.
 *
 * ```ts
 * import { playStream } from "@oriel/client";
 * import { MultiStreamClient } from "@oriel/client/multistream";
 *
 * const client = new MultiStreamClient(location.href);
 * await client.connect([{ slot: 0, stream: "camera1" }, { slot: 1, stream: "camera2", quality: "360p" }], console.log);
 * await playStream(video, client.stream(0));
 * await client.switchStream(0, "camera3");
 * ```
 */

export { type AudioMode, isHeard } from "./audio";
export { MultiStreamClient, type MultiStreamEvents, type MultiStreamOptions } from "./client";
export type { SlotConfig, SlotStatus } from "./messages";
export { multiSocketUrl } from "./socket";
export { ALL_SLOTS } from "./wanted";
