/**
 * Copies between this machine and the session's home: a few at a time, the others wait. Each can be cancelled.
 *
 *     waiting ──▶ running ──▶ done
 *        └──────────┴──▶ cancelled, failed (an upload whose name is taken can be told to replace it)
 */

import { type Api, type FileEntry, ProblemError } from "@oriel/client";
import { save } from "../../ui/save";
import type { Picked } from "./picked";

/** At once: a browser has six connections to a server, and others need some. */
const AT_ONCE = 2;
/** A download has failed when so many requests in a row have brought nothing; before each of them it waits longer, in all for half a minute: a server is started again meanwhile. */
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** Of what has ended, so many are kept to be read. */
const KEPT = 20;

export type Transfer = {
  readonly id: number;
  readonly direction: "up" | "down";
  readonly name: string;
  readonly state: "waiting" | "running" | "done" | "cancelled" | "failed";
  /** Bytes that have arrived. */
  readonly done: number;
  /** Of how many; null: not known. */
  readonly total: number | null;
  /** Why it failed; null: it has not. To be put into words where it is shown, as those come later. */
  readonly cause: unknown;
  /** There is a file of this name, which can be replaced. */
  readonly taken: boolean;
};

type Headers = Readonly<Record<string, string>>;
type Progress = (done: number, total: number | null) => void;
type Job = { readonly abort: AbortController; readonly run: (progress: Progress, signal: AbortSignal) => Promise<void> };

export class Transfers {
  readonly #api: Api;
  readonly #streamer: string;
  readonly #listeners = new Set<() => void>();
  readonly #jobs = new Map<number, Job>();
  /** Where uploads of this page have gone. */
  readonly #uploaded = new Set<string>();
  /** What repeats an upload, of those whose name was taken. */
  readonly #again = new Map<number, () => void>();
  /** Directories that are there, or are being made. */
  readonly #directories = new Map<string, Promise<unknown>>();
  #transfers: readonly Transfer[] = [];
  #next = 1;

  constructor(api: Api, streamer: string) {
    this.#api = api;
    this.#streamer = streamer;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The newest last. The same value until something changes. */
  readonly list = (): readonly Transfer[] => this.#transfers;

  /** @param path percent-encoded, as in an entry */
  hasUploaded(path: string): boolean {
    return this.#uploaded.has(path);
  }

  /** @param directory percent-encoded; empty: the home itself */
  upload(directory: string, picked: readonly Picked[]): void {
    for (const { path, file } of picked) this.#upload(directory, path, file, false);
  }

  download(entry: FileEntry): void {
    const archive = entry.kind === "directory";
    const name = archive ? `${entry.name}.zip` : entry.name;
    this.#add("down", name, archive ? null : entry.size, async (progress, signal) => {
      const ask = (headers: Headers): Promise<Response> =>
        this.#api.file(this.#streamer, entry.path, archive ? { signal, archive: "zip" } : { signal, headers });
      // An archive is made while it is sent, and never twice the same.
      save(await received(ask, archive ? null : entry.size, archive ? 1 : ATTEMPTS, progress, signal), name);
    });
  }

  cancel(id: number): void {
    this.#jobs.get(id)?.abort.abort();
    this.#jobs.delete(id);
    this.#again.delete(id);
    this.#change(id, { state: "cancelled", cause: null });
    this.#start();
  }

  /** Uploads once more, in place of the file that has the name. */
  replace(id: number): void {
    const again = this.#again.get(id);
    if (again === undefined) return;
    this.#again.delete(id);
    this.#set(this.#transfers.filter((transfer) => transfer.id !== id));
    again();
  }

  /** Forgets what has ended. */
  clear(): void {
    this.#set(this.#transfers.filter(({ state }) => state === "waiting" || state === "running"));
  }

  #upload(directory: string, path: readonly string[], file: File | null, replace: boolean): void {
    const name = path.join("/");
    const parents = path.slice(0, -1);
    this.#add("up", name, file?.size ?? null, async (progress, signal) => {
      await this.#makeDirectories(directory, parents);
      const target = join(directory, path);
      this.#uploaded.add(target);
      if (file === null) await this.#makeDirectories(directory, path);
      else await this.#put(target, file, replace, progress, signal);
    }, () => {
      this.#upload(directory, path, file, true);
    });
  }

  async #put(target: string, file: File, replace: boolean, onProgress: Progress, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.putFile(this.#streamer, target, file, { signal, replace, onProgress });
    } catch (error) {
      // What was cancelled is not gone on with; where this fails, the server forgets it in time.
      if (signal.aborted) await this.#api.discardUpload(this.#streamer, target, file).catch(() => undefined);
      throw error;
    }
  }

  async #makeDirectories(directory: string, path: readonly string[]): Promise<void> {
    for (let depth = 1; depth <= path.length; depth += 1) {
      const target = join(directory, path.slice(0, depth));
      const made = this.#directories.get(target) ?? this.#api.makeDirectory(this.#streamer, target);
      this.#directories.set(target, made);
      try {
        await made;
      } catch (error) {
        this.#directories.delete(target);
        throw error;
      }
    }
  }

  #add(
    direction: Transfer["direction"],
    name: string,
    total: number | null,
    run: Job["run"],
    again: (() => void) | null = null,
  ): void {
    const id = this.#next;
    this.#next += 1;
    this.#jobs.set(id, { abort: new AbortController(), run });
    if (again !== null) this.#again.set(id, again);
    const transfer: Transfer = { id, direction, name, state: "waiting", done: 0, total, cause: null, taken: false };
    const ended = this.#transfers.filter(({ state }) => state !== "waiting" && state !== "running");
    const forgotten = new Set(ended.slice(0, Math.max(0, ended.length - KEPT)));
    this.#set([...this.#transfers.filter((old) => !forgotten.has(old)), transfer]);
    this.#start();
  }

  #start(): void {
    const running = this.#transfers.filter(({ state }) => state === "running").length;
    const next = this.#transfers.find(({ state }) => state === "waiting");
    if (running >= AT_ONCE || next === undefined) return;
    void this.#run(next.id);
    this.#start();
  }

  async #run(id: number): Promise<void> {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#change(id, { state: "running" });
    const { signal } = job.abort;
    const progress: Progress = (done, total) => {
      if (!signal.aborted) this.#change(id, { done, total });
    };
    try {
      await job.run(progress, signal);
      if (!signal.aborted) this.#change(id, { state: "done" });
    } catch (error) {
      const taken = error instanceof ProblemError && error.code === "file_exists";
      if (!signal.aborted) this.#change(id, { state: "failed", cause: error, taken });
    }
    this.#jobs.delete(id);
    if (this.#transfers.find((transfer) => transfer.id === id)?.taken !== true) this.#again.delete(id);
    this.#start();
  }

  #change(id: number, change: Partial<Transfer>): void {
    this.#set(this.#transfers.map((transfer) => (transfer.id === id ? { ...transfer, ...change } : transfer)));
  }

  #set(transfers: readonly Transfer[]): void {
    this.#transfers = transfers;
    for (const listener of this.#listeners) listener();
  }
}

/** @param directory percent-encoded; `names` are not */
export function join(directory: string, names: readonly string[]): string {
  return [...(directory === "" ? [] : [directory]), ...names.map(encoded)].join("/");
}

/** As the server encodes a name: also what `encodeURIComponent` leaves (RFC 3986 §2.2). */
function encoded(name: string): string {
  return encodeURIComponent(name).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * The body that `ask` brings. Where it breaks off, it goes on from there, unless the file has changed meanwhile: then from its beginning.
 * @param attempts after so many requests in a row without anything new it fails.
 */
export async function received(
  ask: (headers: Headers) => Promise<Response>,
  total: number | null,
  attempts: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<Blob> {
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let done = 0;
  /** Of the file that the parts are of; null: it has none by which it could be gone on with. */
  let tag: string | null = null;
  for (let failures = 0; ; ) {
    try {
      const response = await ask(done === 0 || tag === null ? {} : { range: `bytes=${String(done)}-`, "if-range": tag });
      if (response.status !== 206) {
        parts = [];
        done = 0;
      }
      tag = strong(response.headers.get("etag"));
      if (response.body === null) return await response.blob();
      const reader = response.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        failures = 0;
        parts.push(part.value);
        done += part.value.length;
        progress(done, total);
      }
      return new Blob(parts, { type: "application/octet-stream" });
    } catch (error) {
      failures += 1;
      if (signal.aborted || failures >= attempts || !canPass(error)) throw error;
      await pause(Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS), signal);
    }
  }
}

/** Ranges are only of a file that is the same byte by byte (RFC 9110 §13.1.5). */
function strong(tag: string | null): string | null {
  return tag?.startsWith("W/") === true ? null : tag;
}

/** Whether what failed may succeed later: the connection, or a server that is not there for a moment. */
function canPass(error: unknown): boolean {
  return !(error instanceof ProblemError) || error.status >= 500;
}

/** Ends early when `signal` is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
