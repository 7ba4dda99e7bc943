/**
 * The REST API alone: needs `fetch` and nothing of a page, so that it works in Node, too.
 *
 * ```ts
 * const api = new Api("https://host/", process.env.ORIEL_TOKEN ?? null);
 * await api.create({ id: "mine", source: { type: "desktop", width: 1024, height: 768 } }, { wait: "running" });
 * await api.input("mine", [{ type: "text", text: "hello\n" }]);
 * const png = await api.snapshot("mine");
 * ```
 */

export {
  type AddHostRequest,
  Api,
  type ApiEvent,
  type CallOptions,
  type ControlRequest,
  type CreateOptions,
  type CreateRequest,
  type InputEvent,
  type InputOptions as ApiInputOptions,
  type ListFilesOptions,
  type RoomRequest,
  type SizeRequest,
  type SlotRequest,
  type SnapshotOptions,
  type TaggedSnapshot,
  type SourceRequest,
  type TokenRequest,
  type TokenSource,
  type UploadOptions,
} from "./api";
export { ProblemError } from "./errors";
export type * from "./generated";
