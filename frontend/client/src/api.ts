/**
 * The REST API. Every call takes an `AbortSignal` and rejects with a {@link ProblemError} when the server
 * refuses, or with the error of `fetch` when it cannot be reached.
 */

import { ProblemError } from "./errors";
import type {
  AddHost,
  ApiInfo,
  ClipboardBody,
  Control,
  ControlChange,
  CreateRoom,
  CreateStreamer,
  CreateToken,
  FileEntry,
  FileList,
  FileUpload,
  Host,
  HostApp,
  HostAppList,
  HostList,
  InputCommand,
  LogTail,
  Node,
  NodeList,
  PairStarted,
  Placement,
  Problem,
  Room,
  RoomList,
  SetClipboard,
  Source,
  SourceList,
  SourceSpec,
  Streamer,
  StreamerEvent,
  StreamerList,
  StreamerPatch,
  StreamInfo,
  StreamList,
  Token,
  Window,
  WindowList,
} from "./generated";

/** Authenticates requests: a token, or a function that returns the newest one; null for none. */
export type TokenSource = string | (() => string | null) | null;

/** The token that a source gives now. */
export function readToken(source: TokenSource): string | null {
  return typeof source === "function" ? source() : source;
}

/** The body of `POST …/tokens`. */
export type TokenRequest = Pick<CreateToken, "role"> & Partial<CreateToken>;

/** The body of `PUT …/control`; absent fields stay as they are. */
export type ControlRequest = Partial<ControlChange>;

export type CallOptions = {
  readonly signal?: AbortSignal;
  /** The request outlives the page that makes it. */
  readonly keepalive?: boolean;
};

/** The body of `POST /api/streamers`; fields with a default may be omitted. */
export type CreateRequest = Partial<
  Omit<CreateStreamer, "source" | "sources" | "restart" | "share" | "slots">
> & {
  /** Slots negotiated with every peer, 1 to 16. */
  readonly slots?: number;
  /** Whether and when it is started again after it has ended by itself. */
  readonly restart?: Partial<CreateStreamer["restart"]>;
  /** The main source of the session; a streamer of cameras has none. */
  readonly source?: SourceRequest;
  /** Further sources by name. */
  readonly sources?: Readonly<Record<string, SourceRequest>>;
  /** Show the main source in slot 0 from the start. */
  readonly share?: boolean;
};

export type CreateOptions = CallOptions & {
  /** `running`: answer when its source runs, or has failed. Default: at once. */
  readonly wait?: "running";
};

/** A command of `POST …/input`; fields with a default may be omitted. */
export type InputEvent = InputEventOf<InputCommand>;
type WithDefault = "action" | "hold_ms" | "button" | "count" | "duration_ms" | "dx" | "dy";
type InputEventOf<C> = C extends unknown ? Omit<C, WithDefault> & Partial<Pick<C, WithDefault & keyof C>> : never;

export type InputOptions = CallOptions & {
  /** Whose source gets it. Default: 0. */
  readonly slot?: number;
};

/** What `GET …/events` tells; `missed`: events before this one are lost, ask for the present state. */
export type ApiEvent = StreamerEvent | { readonly type: "missed" };

/** A source; fields with a default may be omitted. */
export type SourceRequest = SourceRequestOf<SourceSpec>;
type SourceRequestOf<S> = S extends { readonly type: infer Type }
  ? { readonly type: Type } & Partial<Omit<S, "type">>
  : never;

/** What `POST /api/rooms` is given: everything but the name may be left out. */
export type RoomRequest = Pick<CreateRoom, "name"> & {
  readonly id?: string;
  readonly max_participants?: number;
  readonly slots?: number;
  /** What is shown beside the people, such as a desktop; the room ends with it. */
  readonly source?: SourceRequest;
  /** Further sources by name. */
  readonly sources?: Readonly<Record<string, SourceRequest>>;
};

/** A Moonlight host: a name or an IP address, and the port of its HTTP if it is not the usual one. */
export type AddHostRequest = Pick<AddHost, "address"> & Partial<AddHost>;

/** The wanted content of a slot: a stream by its name, or a new source such as a window. */
export type SlotRequest = {
  readonly source: string | SourceRequest;
  /** `""` or `"native"` for the stream itself, else as in `"360p"`. */
  readonly quality?: string;
};

/** The body of `POST …/resize`. */
export type SizeRequest = { readonly slot?: number; readonly width: number; readonly height: number };

export type SnapshotOptions = {
  readonly slot?: number;
  readonly format?: "png" | "jpeg";
  readonly width?: number;
};

/** A picture, and what those of the same options that look the same have in common; null from a server that does not say it. */
export type TaggedSnapshot = { readonly picture: Blob; readonly etag: string | null };

export type ListFilesOptions = CallOptions & {
  /** `next` of the page before. */
  readonly after?: string;
  /** Most entries, 1 to 1000. Default: 200. */
  readonly limit?: number;
};

export type UploadOptions = CallOptions & {
  /** Replace a file of this name. Default: true. */
  readonly replace?: boolean;
  /** Told how many bytes have arrived, after each part. */
  readonly onProgress?: (received: number, total: number) => void;
};

/** What is sent in one request of an upload, bytes: what has to be sent again when a connection breaks. */
const PART = 4 * 1024 * 1024;
/** How often in a row a part is tried, and the pause before it is tried again, milliseconds. */
const ATTEMPTS = 6;
const PAUSE_MS = 1000;

export class Api {
  readonly #base: () => URL;
  readonly #token: TokenSource;

  /**
   * @param baseUrl where the web-server's root is, seen from outside: `https://host/prefix/`, or a function that returns where it is now. In a
   * page, its own base when absent.
   * @param token shown with every request, where the server asks for one.
   */
  constructor(baseUrl?: string | URL | (() => URL), token: TokenSource = null) {
    if (typeof baseUrl === "function") {
      this.#base = baseUrl;
    } else {
      const base = new URL(".", baseUrl ?? document.baseURI);
      this.#base = () => base;
    }
    this.#token = token;
  }

  /** Version and features of the server. */
  async info(options: CallOptions = {}): Promise<ApiInfo> {
    return (await this.#json("GET", "api", undefined, options)) as ApiInfo;
  }

  async streamers(options: CallOptions = {}): Promise<Streamer[]> {
    const list = (await this.#json("GET", "api/streamers", undefined, options)) as StreamerList;
    return list.streamers;
  }

  async streamer(id: string, options: CallOptions = {}): Promise<Streamer> {
    return (await this.#json("GET", streamerPath(id), undefined, options)) as Streamer;
  }

  async create(request: CreateRequest, options: CreateOptions = {}): Promise<Streamer> {
    const query = options.wait === undefined ? "" : `?wait=${options.wait}`;
    return (await this.#json("POST", `api/streamers${query}`, request, options)) as Streamer;
  }

  /** Changes a streamer's lifetime; absent fields stay as they are. */
  async update(id: string, patch: StreamerPatch, options: CallOptions = {}): Promise<Streamer> {
    return (await this.#json("PATCH", streamerPath(id), patch, options)) as Streamer;
  }

  /** Types, clicks and moves, in this order; resolves when all of it has been carried out. */
  async input(id: string, events: readonly InputEvent[], options: InputOptions = {}): Promise<void> {
    const { slot = 0 } = options;
    await this.#json("POST", `${streamerPath(id)}/input`, { slot, events }, options);
  }

  /**
   * What happens from the call on, until the streamer is deleted, the connection ends or `signal` aborts.
   * @param id of one streamer; null: of all, for admins.
   */
  async *events(id: string | null, options: CallOptions = {}): AsyncGenerator<ApiEvent, void, undefined> {
    const path = id === null ? "api/events" : `${streamerPath(id)}/events`;
    const { body } = await this.#fetch("GET", path, undefined, options);
    if (body === null) return;
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        // The type is in the data as well, and the data is one line.
        for (const line of lines) {
          if (line.startsWith("data:")) yield JSON.parse(line.slice(5)) as ApiEvent;
        }
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }

  async remove(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", streamerPath(id), undefined, options);
  }

  /** Restarts a streamer, also a failed one. */
  async restart(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("POST", `${streamerPath(id)}/restart`, undefined, options);
  }

  /**
   * Starts a streamer at another node of the cluster and ends it where it is: what its programs had in memory is lost, and its home stays
   * behind. Without a node or labels, at the one with the most room.
   */
  async move(id: string, placement: Placement = {}, options: CallOptions = {}): Promise<Streamer> {
    return (await this.#json("POST", `${streamerPath(id)}/move`, placement, options)) as Streamer;
  }

  /** The last lines of a streamer's log, also of a failed one. For admins. */
  async log(id: string, options: CallOptions = {}): Promise<string[]> {
    const tail = (await this.#json("GET", `${streamerPath(id)}/logs`, undefined, options)) as LogTail;
    return tail.lines;
  }

  /** Resizes the desktop in a slot; resolves when its pictures have the new size. Sides are even. */
  async resize(id: string, size: SizeRequest, options: CallOptions = {}): Promise<void> {
    await this.#json("POST", `${streamerPath(id)}/resize`, size, options);
  }

  /** The windows of a streamer's desktop that can be shared, the topmost first. */
  async windows(id: string, options: CallOptions = {}): Promise<Window[]> {
    const list = (await this.#json("GET", `${streamerPath(id)}/windows`, undefined, options)) as WindowList;
    return list.windows;
  }

  /** A streamer's sources, in order of their names. */
  async sources(id: string, options: CallOptions = {}): Promise<Source[]> {
    const list = (await this.#json("GET", `${streamerPath(id)}/sources`, undefined, options)) as SourceList;
    return list.sources;
  }

  /** The streams that multistream clients of this server can ask for, and how many of them at once. */
  async streams(options: CallOptions = {}): Promise<StreamList> {
    return (await this.#json("GET", "api/streams", undefined, options)) as StreamList;
  }

  /** Shows something to everybody, in the first free slot; answers when its first picture is there. */
  async share(id: string, request: SlotRequest, options: CallOptions = {}): Promise<StreamInfo> {
    return (await this.#json("POST", `${streamerPath(id)}/slots`, request, options)) as StreamInfo;
  }

  /** Shows something to everybody in one slot, in place of what it shows now. */
  async bindSlot(
    id: string,
    slot: number,
    request: SlotRequest,
    options: CallOptions = {},
  ): Promise<StreamInfo> {
    return (await this.#json("PUT", `${streamerPath(id)}/slots/${slot}`, request, options)) as StreamInfo;
  }

  /** Clears a slot for everybody. */
  async clearSlot(id: string, slot: number, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", `${streamerPath(id)}/slots/${slot}`, undefined, options);
  }

  /** Makes a token for one streamer and role. */
  async createToken(id: string, request: TokenRequest, options: CallOptions = {}): Promise<Token> {
    return (await this.#json("POST", `${streamerPath(id)}/tokens`, request, options)) as Token;
  }

  /** Revokes a token; the peers that joined with it are removed. */
  async revokeToken(id: string, tokenId: string, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", `${streamerPath(id)}/tokens/${tokenId}`, undefined, options);
  }

  /** Who may steer a streamer. */
  async control(id: string, options: CallOptions = {}): Promise<Control> {
    return (await this.#json("GET", `${streamerPath(id)}/control`, undefined, options)) as Control;
  }

  /** Changes who may steer it. */
  async changeControl(id: string, change: ControlRequest, options: CallOptions = {}): Promise<Control> {
    return (await this.#json("PUT", `${streamerPath(id)}/control`, change, options)) as Control;
  }

  /** A picture of what a streamer shows now. */
  async snapshot(id: string, snapshot: SnapshotOptions = {}, options: CallOptions = {}): Promise<Blob> {
    return (await this.#snapshot(id, snapshot, options)).blob();
  }

  /**
   * The same, unless it looks as the one with this `etag`: then null, and nothing was encoded or sent. Null as `etag`: none is known.
   */
  async newSnapshot(
    id: string,
    etag: string | null,
    snapshot: SnapshotOptions = {},
    options: CallOptions = {},
  ): Promise<TaggedSnapshot | null> {
    const response = await this.#snapshot(id, snapshot, options, etag === null ? {} : { "if-none-match": etag });
    return response.status === 304 ? null : { picture: await response.blob(), etag: response.headers.get("etag") };
  }

  #snapshot(
    id: string,
    snapshot: SnapshotOptions,
    options: CallOptions,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(snapshot)) query.set(name, String(value));
    return this.#fetch("GET", `${streamerPath(id)}/snapshot?${query}`, undefined, options, headers);
  }

  /** What a streamer's clipboard offers, and its texts. */
  async clipboard(id: string, options: CallOptions = {}): Promise<ClipboardBody> {
    return (await this.#json("GET", `${streamerPath(id)}/clipboard`, undefined, options)) as ClipboardBody;
  }

  /** The picture on a streamer's clipboard, as PNG; refused with `not_on_clipboard` when it offers none. */
  async clipboardPicture(id: string, options: CallOptions = {}): Promise<Blob> {
    const path = `${streamerPath(id)}/clipboard?type=image/png`;
    return (await this.#fetch("GET", path, undefined, options)).blob();
  }

  /** Puts a text, or a picture in PNG, on a streamer's clipboard. */
  async setClipboard(id: string, content: SetClipboard | Blob, options: CallOptions = {}): Promise<void> {
    await this.#fetch("PUT", `${streamerPath(id)}/clipboard`, content, options);
  }

  /** Some of what is in a directory of the session's home, in the order of names. `path` is percent-encoded, as in its entries. */
  async files(id: string, path = "", options: ListFilesOptions = {}): Promise<FileList> {
    const query = new URLSearchParams();
    if (options.after !== undefined) query.set("after", options.after);
    if (options.limit !== undefined) query.set("limit", String(options.limit));
    return (await this.#json("GET", `${filePath(id, path)}?${query}`, undefined, options)) as FileList;
  }

  /**
   * A file of the session's home, or with `archive` a directory of it; its body is still to be read. `headers` are further ones of the
   * request, such as `range` and `if-range`.
   */
  async file(
    id: string,
    path: string,
    options: CallOptions & { readonly archive?: "zip"; readonly headers?: Readonly<Record<string, string>> } = {},
  ): Promise<Response> {
    const query = options.archive === undefined ? "" : `?archive=${options.archive}`;
    return this.#fetch("GET", `${filePath(id, path)}${query}`, undefined, options, options.headers);
  }

  /**
   * Makes or replaces a file in the session's home. A large one goes in parts; where a connection breaks, or an earlier call with the
   * same content did, it goes on from there.
   */
  async putFile(id: string, path: string, content: Blob, options: UploadOptions = {}): Promise<FileEntry> {
    const { replace = true, onProgress = () => undefined } = options;
    const total = content.size;
    const conditions: Record<string, string> = replace ? {} : { "if-none-match": "*" };
    const send = async (part: Blob, range?: string): Promise<FileEntry | FileUpload> => {
      const headers = range === undefined ? conditions : { ...conditions, "content-range": `bytes ${range}/${total}` };
      const answer = await this.#json("PUT", filePath(id, path), part, options, headers);
      return answer as FileEntry | FileUpload;
    };
    if (total <= PART) {
      const entry = (await send(content)) as FileEntry;
      onProgress(total, total);
      return entry;
    }
    // Not known, after an interruption as well.
    let offset: number | null = null;
    for (let failures = 0; ; ) {
      try {
        const end: number = Math.min((offset ?? 0) + PART, total);
        const sent: FileEntry | FileUpload = await (offset === null
          ? send(new Blob(), "*")
          : send(content.slice(offset, end), `${offset}-${end - 1}`));
        if (!("received" in sent)) {
          onProgress(total, total);
          return sent;
        }
        failures = 0;
        offset = Math.min(sent.received, total);
        onProgress(offset, total);
      } catch (error) {
        failures += 1;
        const lost = !(error instanceof ProblemError) || error.problem.code === "incomplete_body";
        if (!lost || failures >= ATTEMPTS || options.signal?.aborted === true) throw error;
        offset = null;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  /** Forgets what has come of a large file that `putFile` did not complete. */
  async discardUpload(id: string, path: string, content: Blob, options: CallOptions = {}): Promise<void> {
    if (content.size <= PART) return;
    const headers = { "content-range": `bytes */${content.size}` };
    await this.#json("DELETE", filePath(id, path), undefined, options, headers);
  }

  /** Makes a directory in the session's home; it may be there already. */
  async makeDirectory(id: string, path: string, options: CallOptions = {}): Promise<FileEntry> {
    return (await this.#json("PUT", `${filePath(id, path)}/`, undefined, options)) as FileEntry;
  }

  /** Removes a file, or with `recursive` a directory with all that is in it. */
  async removeFile(id: string, path: string, options: CallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    const query = options.recursive === true ? "?recursive=true" : "";
    await this.#json("DELETE", `${filePath(id, path)}${query}`, undefined, options);
  }

  async rooms(options: CallOptions = {}): Promise<readonly Room[]> {
    const list = (await this.#json("GET", "api/rooms", undefined, options)) as RoomList;
    return list.rooms;
  }

  async room(id: string, options: CallOptions = {}): Promise<Room> {
    return (await this.#json("GET", roomPath(id), undefined, options)) as Room;
  }

  async createRoom(request: RoomRequest, options: CallOptions = {}): Promise<Room> {
    return (await this.#json("POST", "api/rooms", request, options)) as Room;
  }

  async removeRoom(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", roomPath(id), undefined, options);
  }

  /** The Moonlight hosts that are known. */
  async hosts(options: CallOptions = {}): Promise<readonly Host[]> {
    const list = (await this.#json("GET", "api/hosts", undefined, options)) as HostList;
    return list.hosts;
  }

  async host(id: string, options: CallOptions = {}): Promise<Host> {
    return (await this.#json("GET", hostPath(id), undefined, options)) as Host;
  }

  async addHost(request: AddHostRequest, options: CallOptions = {}): Promise<Host> {
    return (await this.#json("POST", "api/hosts", request, options)) as Host;
  }

  /** Forgets a host, and the pairing with it. */
  async removeHost(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", hostPath(id), undefined, options);
  }

  /** Begins to pair: somebody has to type the PIN on the host. The progress is in `pairing` of the host. */
  async pairHost(id: string, options: CallOptions = {}): Promise<PairStarted> {
    return (await this.#json("POST", `${hostPath(id)}/pair`, undefined, options)) as PairStarted;
  }

  async hostApps(id: string, options: CallOptions = {}): Promise<readonly HostApp[]> {
    const list = (await this.#json("GET", `${hostPath(id)}/apps`, undefined, options)) as HostAppList;
    return list.apps;
  }

  /** The picture of an app. */
  async hostAppImage(host: string, app: HostApp, options: CallOptions = {}): Promise<Blob> {
    // Not `app.image`: a proxy may have moved us without our knowing.
    const response = await this.#fetch("GET", `${hostPath(host)}/apps/${app.id}/image`, undefined, options);
    return response.blob();
  }

  /** Wakes a host that sleeps. */
  async wakeHost(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("POST", `${hostPath(id)}/wake`, undefined, options);
  }

  /** Ends the app that runs on a host. */
  async quitHostApp(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("POST", `${hostPath(id)}/cancel`, undefined, options);
  }

  /** The nodes of the cluster; refused with `no_cluster` where the server is in none. */
  async nodes(options: CallOptions = {}): Promise<readonly Node[]> {
    const list = (await this.#json("GET", "api/nodes", undefined, options)) as NodeList;
    return list.nodes;
  }

  /** Lets a node take no new streamers; those that it has go on. */
  async drainNode(name: string, options: CallOptions = {}): Promise<Node> {
    return (await this.#json("POST", `${nodePath(name)}/drain`, undefined, options)) as Node;
  }

  /** Lets a node take new streamers again. */
  async undrainNode(name: string, options: CallOptions = {}): Promise<Node> {
    return (await this.#json("POST", `${nodePath(name)}/undrain`, undefined, options)) as Node;
  }

  async #json(
    method: string,
    path: string,
    body: unknown,
    options: CallOptions,
    more: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const response = await this.#fetch(method, path, body, options, more);
    return response.status === 204 ? undefined : response.json();
  }

  async #fetch(
    method: string,
    path: string,
    body: unknown,
    options: CallOptions,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const { signal = null, keepalive = false } = options;
    const headers = new Headers(more);
    const init: RequestInit = { method, signal, keepalive, cache: "no-store", headers };
    const token = readToken(this.#token);
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    if (body instanceof Blob) {
      init.body = body;
      headers.set("content-type", body.type === "" ? "application/octet-stream" : body.type);
    } else if (body !== undefined) {
      init.body = JSON.stringify(body);
      headers.set("content-type", "application/json");
    }
    const response = await fetch(new URL(path, this.#base()), init);
    if (!response.ok && response.status !== 304) throw new ProblemError(await readProblem(response));
    return response;
  }
}

function streamerPath(id: string): string {
  return `api/streamers/${encodeURIComponent(id)}`;
}

/** @param path percent-encoded, without slashes around it */
function filePath(id: string, path: string): string {
  return `${streamerPath(id)}/files/${path}`;
}

function roomPath(id: string): string {
  return `api/rooms/${encodeURIComponent(id)}`;
}

function hostPath(id: string): string {
  return `api/hosts/${encodeURIComponent(id)}`;
}

function nodePath(name: string): string {
  return `api/nodes/${encodeURIComponent(name)}`;
}

/** The problem in a response; a synthetic one when the response is something else, such as a proxy's page. */
async function readProblem(response: Response): Promise<Problem> {
  const made: Problem = {
    type: "about:blank",
    title: response.statusText === "" ? `HTTP ${response.status}` : response.statusText,
    status: response.status,
    detail: `The server answered with status ${response.status}.`,
    code: `http_${response.status}`,
    request_id: response.headers.get("x-request-id") ?? "",
  };
  const type = response.headers.get("content-type") ?? "";
  if (!type.includes("json")) return made;
  try {
    const body: unknown = await response.json();
    return isProblem(body) ? { ...made, ...body } : made;
  } catch {
    return made;
  }
}

function isProblem(body: unknown): body is Partial<Problem> {
  if (typeof body !== "object" || body === null) return false;
  const fields: Record<string, unknown> = { ...body };
  return typeof fields.code === "string" && typeof fields.detail === "string";
}
