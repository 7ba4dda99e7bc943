/**
 * Many streams over one connection, each slot switched on its own: `multistream/*` on `WS /api/ws`.
 *
 * It owns the wanted content of the slots, and their tracks. A lost WebSocket is resumed without affecting
 * the media; a lost media path, or a session that is gone, is begun anew with what the slots show now. Data
 * comes from the socket and the peer connection, decisions from the state machine in `session.ts`.
 */

import { readToken, type TokenSource } from "../api";
import { OrielError } from "../errors";
import { Emitter, type EventSource, type Listener, type ListenOptions } from "../events";
import type { AudioLayout, MultistreamClientMessage, SlotState } from "../generated";
import { SwitchRequests } from "../peer/requests";
import { advance, type Command, IDLE, type Session, type SessionEvent } from "../session";
import { type ClientState, publicState } from "../state";
import { type AudioMode, isHeard } from "./audio";
import type { MultiServerMessage, SlotConfig, SlotStatus } from "./messages";
import { MultiPeer } from "./peer";
import { multiSocketUrl, MultiSocket } from "./socket";
import { ALL_SLOTS, WantedSlots } from "./wanted";

export type MultiStreamOptions = {
  /** Used beside those that the server names. */
  readonly iceServers?: readonly RTCIceServer[];
  /** Authenticates this client, where the server requires it: a token, or a function that returns the newest one. */
  readonly token?: TokenSource;
  /** `relay`: through a TURN server or not at all. Default: `all`. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy;
  /** Which slots are heard; `focused` is the one of {@link MultiStreamClient.focus}. Default: `mix`. */
  readonly audio?: AudioMode;
  /**
   * `mix`: the server mixes the sound of all slots into one track, in the stream of slot 0, which costs small devices less; `audio` means
   * nothing then. Default: `tracks`, one for each slot.
   */
  readonly audioLayout?: AudioLayout;
};

export type MultiStreamEvents = {
  state: ClientState;
  status: SlotStatus;
  /** The tracks have been replaced, after a reconnection; the streams of {@link MultiStreamClient.stream} have not. */
  tracks: ReadonlyMap<number, MediaStreamTrack>;
};

export class MultiStreamClient implements EventSource<MultiStreamEvents> {
  readonly #url: URL;
  readonly #options: MultiStreamOptions;
  readonly #events = new Emitter<MultiStreamEvents>();
  readonly #requests = new SwitchRequests();
  readonly #tracks = new Map<number, MediaStreamTrack>();
  readonly #streams = new Map<number, MediaStream>();
  readonly #statuses = new Map<number, SlotStatus>();
  #session: Session = IDLE;
  #wanted = new WantedSlots([{ slot: 0, stream: "" }]);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | null = null;
  #socket: MultiSocket | null = null;
  #peer: MultiPeer | null = null;
  /** Of the last `ready`: names the session for the server. */
  #token: string | null = null;
  #greeted = false;
  #offers = 0;
  #requestCount = 0;
  #reached = false;
  #audio: AudioMode;
  #focused: number | null = null;

  /** @param baseUrl where the web-server's root is, seen from outside: `https://host/prefix/`. */
  constructor(baseUrl: string | URL, options: MultiStreamOptions = {}) {
    this.#url = multiSocketUrl(baseUrl, options.audioLayout);
    this.#options = options;
    this.#audio = options.audio ?? "mix";
  }

  on<K extends keyof MultiStreamEvents>(
    type: K,
    listener: Listener<MultiStreamEvents[K]>,
    options?: ListenOptions,
  ): () => void {
    return this.#events.on(type, listener, options);
  }

  get state(): ClientState {
    return publicState(this.#session, performance.now());
  }

  /** Offers made since the client exists; switching makes none. */
  get offers(): number {
    return this.#offers;
  }

  get signalingState(): RTCSignalingState | null {
    return this.#peer?.signalingState ?? null;
  }

  /** The last status of each slot. */
  get statuses(): ReadonlyMap<number, SlotStatus> {
    return this.#statuses;
  }

  /**
   * Picture and sound of a slot, for a video element. It stays the same for as long as the client exists: what
   * it shows after a switch or a reconnection, it shows by itself.
   */
  stream(slot: number): MediaStream {
    const stream = this.#streams.get(slot) ?? new MediaStream();
    this.#streams.set(slot, stream);
    return stream;
  }

  /**
   * Opens the connection and keeps it open until {@link disconnect} is called or `signal` aborts.
   *
   * Resolves with the slots' video tracks as soon as they are negotiated. One slot that cannot be shown does not
   * fail the others: `onStatus` tells. The map is brought up to date after each reconnection.
   *
   * @param slots numbered from 0 without a gap.
   * @throws {OrielError} `refused` when the server takes no such session, `aborted`.
   * @throws {RangeError} when the slots are numbered in another way.
   */
  async connect(
    slots: readonly SlotConfig[],
    onStatus?: (status: SlotStatus) => void,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Map<number, MediaStreamTrack>> {
    const { signal } = options;
    if (this.#running !== null) throw new OrielError("protocol", "this client is connected already");
    if (signal?.aborted === true) throw new OrielError("aborted", "aborted before it began");
    this.#wanted = new WantedSlots(slots);
    this.#statuses.clear();
    const running = new AbortController();
    this.#running = running;
    if (onStatus !== undefined) this.on("status", onStatus, { signal: running.signal });
    const listen = { signal: running.signal };
    signal?.addEventListener(
      "abort",
      () => {
        this.disconnect();
      },
      listen,
    );
    this.#wakeOnChanges(running.signal);
    const tracks = this.#firstTracks();
    this.#handle({ type: "start" });
    return tracks;
  }

  /**
   * Shows another stream in a slot, without a new offer.
   * @param quality `""` or `"native"`: the stream itself; else a rendition as in `"360p"`.
   * @returns how the slot is doing then, usually `active`.
   * @throws {OrielError} `refused`, or `not-connected` when the answer did not come; a stream that was asked for
   *   without a connection is shown by the next one.
   * @throws {RangeError} when there is no such slot.
   */
  async switchStream(slot: number, stream: string, quality = ""): Promise<SlotState> {
    this.#wanted.switch(slot, stream, quality);
    return this.#requests.ask((request_id) =>
      this.#tell({ type: "multistream/switch", request_id, slot, stream, quality }),
    );
  }

  /** Stops the sending of a slot, or of all (-1), until {@link resume}. */
  pause(slot: number = ALL_SLOTS): void {
    this.#wanted.setPaused(slot, true);
    this.#tell({ type: "multistream/pause", slot });
  }

  /** Sends a paused slot, or all (-1), again. */
  resume(slot: number = ALL_SLOTS): void {
    this.#wanted.setPaused(slot, false);
    this.#tell({ type: "multistream/resume", slot });
  }

  isPaused(slot: number): boolean {
    return this.#wanted.isPaused(slot);
  }

  /** Asks for a keyframe in a slot, or in all (-1). */
  keyframe(slot: number = ALL_SLOTS): void {
    this.#wanted.indices(slot);
    this.#socket?.send({ type: "multistream/keyframe", slot });
  }

  /** Which slots are heard. Sound of the others is received as well, so that a change takes effect at once. */
  get audio(): AudioMode {
    return this.#audio;
  }

  set audio(mode: AudioMode) {
    this.#audio = mode;
    this.#hear();
  }

  /**
   * The slot that is heard when only one is; null: none.
   * @throws {RangeError} when there is no such slot.
   */
  focus(slot: number | null): void {
    if (slot !== null) this.#wanted.require(slot);
    this.#focused = slot;
    this.#hear();
  }

  /** Leaves. {@link connect} may be called again. */
  disconnect(): void {
    this.#handle({ type: "end", reason: { kind: "left" } });
  }

  /** The browser's own statistics of the connection; null when there is none. */
  async stats(): Promise<RTCStatsReport | null> {
    return (await this.#peer?.stats()) ?? null;
  }

  /** Sends a change of a slot to the server, now or once it is connected. */
  #tell(message: MultistreamClientMessage & { readonly slot: number }): boolean {
    const told = this.#greeted && (this.#socket?.send(message) ?? false);
    if (!told) this.#wanted.noteUntold(message.slot);
    return told;
  }

  #nextRequest(): string {
    this.#requestCount += 1;
    return `r${this.#requestCount}`;
  }

  #open(resume: boolean): void {
    this.#closeSocket();
    const session = resume && this.#peer !== null ? this.#token : null;
    if (session === null) this.#replacePeer();
    const token = readToken(this.#options.token ?? null);
    const socket = new MultiSocket(this.#url, {
      type: "multistream/init",
      request_id: this.#nextRequest(),
      slots: this.#wanted.configs,
      ...(token === null ? {} : { token }),
      ...(session === null ? {} : { session }),
    });
    this.#socket = socket;
    socket.on("message", (message) => {
      this.#receive(message);
    });
    socket.on("closed", () => {
      this.#closeSocket();
      this.#handle({ type: "socket-lost", media: this.#peer?.usable ?? false, another: false });
    });
  }

  #receive(message: MultiServerMessage): void {
    switch (message.type) {
      case "ready":
        this.#ready(message);
        break;
      case "answer":
        void this.#accept(message);
        break;
      case "status":
        this.#status(this.#wanted.asAsked(message.status), message.requestId);
        break;
      case "ice":
        this.#peer?.addCandidate(message.candidate);
        break;
      case "disconnected":
        this.#handle({ type: "media-lost" });
        break;
      case "error":
        this.#refused(message);
        break;
    }
  }

  #ready({ session, resumed, iceServers }: MultiServerMessage & { type: "ready" }): void {
    this.#token = session;
    this.#greeted = true;
    this.#handle({ type: "step", step: "streamer" });
    if (resumed) {
      if (this.#peer?.usable !== true) {
        this.#handle({ type: "media-lost" });
        return;
      }
      for (const message of this.#wanted.missed(() => this.#nextRequest())) this.#socket?.send(message);
      this.#handle({ type: "connected" });
    } else {
      // The session that was to be resumed is gone, and its peer connection with it.
      if (this.#peer === null || this.#peer.offered) this.#replacePeer();
      void this.#offer([...iceServers, ...(this.#options.iceServers ?? [])]);
    }
  }

  async #offer(iceServers: readonly RTCIceServer[]): Promise<void> {
    const [peer, socket] = [this.#peer, this.#socket];
    if (peer === null || socket === null) return;
    try {
      const sdp = await peer.offer(iceServers);
      if (peer !== this.#peer || socket !== this.#socket) return;
      this.#offers += 1;
      socket.send({ type: "multistream/offer", request_id: this.#nextRequest(), sdp });
    } catch {
      if (peer === this.#peer) this.#handle({ type: "media-lost" });
    }
  }

  async #accept({ sdp, slots }: MultiServerMessage & { type: "answer" }): Promise<void> {
    const peer = this.#peer;
    if (peer === null) return;
    try {
      await peer.accept(sdp);
    } catch {
      if (peer === this.#peer) this.#handle({ type: "media-lost" });
      return;
    }
    if (peer !== this.#peer) return;
    for (const message of this.#wanted.afterInit()) this.#socket?.send(message);
    this.#takeTracks(peer);
    this.#handle({ type: "step", step: "transport" });
    for (const status of slots) this.#status(this.#wanted.asAsked(status), "");
  }

  #status(status: SlotStatus, requestId: string): void {
    this.#statuses.set(status.slot, status);
    const { error, ...rest } = status;
    this.#requests.receive({
      type: "slot-status",
      ...rest,
      ...(error === null ? {} : { error }),
      ...(requestId === "" ? {} : { requestId }),
    });
    this.#events.emit("status", status);
  }

  #refused({ about, message }: MultiServerMessage & { type: "error" }): void {
    if (about === "multistream/switch") {
      this.#requests.refuseOldest(message);
    } else if (about === "multistream/init" || about === "multistream/offer") {
      // A connection that has worked before is retried: the server may be starting.
      if (this.#reached) this.#handle({ type: "media-lost" });
      else this.#handle({ type: "end", reason: { kind: "refused", message, code: null } });
    }
  }

  #replacePeer(): void {
    this.#peer?.close();
    const peer = new MultiPeer(this.#wanted.count, this.#options.iceTransportPolicy ?? "all");
    this.#peer = peer;
    peer.on("candidate", (candidate) => {
      this.#socket?.send({ type: "multistream/ice", candidate });
    });
    peer.on("connected", () => {
      this.#reached = true;
      this.#handle({ type: "connected" });
    });
    peer.on("failed", () => {
      this.#handle({ type: "media-lost" });
    });
  }

  #takeTracks(peer: MultiPeer): void {
    for (const [slot, { video, audio }] of peer.tracks.entries()) {
      const stream = this.stream(slot);
      for (const old of stream.getTracks()) if (old !== video && old !== audio) stream.removeTrack(old);
      stream.addTrack(video);
      stream.addTrack(audio);
      this.#tracks.set(slot, video);
    }
    this.#hear();
    this.#events.emit("tracks", this.#tracks);
  }

  #hear(): void {
    for (const [slot, { audio }] of this.#peer?.tracks.entries() ?? []) {
      // All is in one track, which has no other to be chosen from.
      audio.enabled = this.#options.audioLayout === "mix" || isHeard(this.#audio, slot, this.#focused);
    }
  }

  #handle(event: SessionEvent): void {
    const before = this.#session;
    const { state, commands } = advance(before, event, performance.now(), Math.random());
    this.#session = state;
    if (state.kind !== "waiting") clearTimeout(this.#timer);
    for (const command of commands) this.#carryOut(command);
    if (state !== before) this.#events.emit("state", this.state);
    if (state.kind === "ended" && before.kind !== "ended") {
      this.#running?.abort();
      this.#running = null;
      this.#reached = false;
      this.#tracks.clear();
    }
  }

  #carryOut(command: Command): void {
    switch (command.type) {
      case "open":
        this.#open(command.resume);
        break;
      case "close":
        if (!command.keepMedia) this.#socket?.send({ type: "multistream/close" });
        this.#closeSocket();
        if (!command.keepMedia) this.#dropSession();
        break;
      case "wait":
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
          this.#handle({ type: "timer" });
        }, command.ms);
        break;
    }
  }

  #closeSocket(): void {
    this.#socket?.close();
    this.#socket = null;
    this.#greeted = false;
    this.#requests.abandon();
  }

  #dropSession(): void {
    this.#token = null;
    this.#peer?.close();
    this.#peer = null;
    if (this.#session.kind === "ended") return;
    for (const { slot, stream, quality, status } of [...this.#statuses.values()]) {
      if (status === "offline") continue;
      this.#status({ slot, stream, quality, status: "offline", error: "connection_lost" }, "");
    }
  }

  #firstTracks(): Promise<Map<number, MediaStreamTrack>> {
    return new Promise((resolve, reject) => {
      const stops = [
        this.on("tracks", () => {
          stop();
          resolve(this.#tracks);
        }),
        this.on("state", (state) => {
          if (state.kind !== "ended") return;
          stop();
          const { reason } = state;
          reject(
            reason.kind === "refused"
              ? new OrielError("refused", reason.message)
              : new OrielError("aborted", "left before it was connected"),
          );
        }),
      ];
      const stop = (): void => {
        for (const remove of stops) remove();
      };
    });
  }

  #wakeOnChanges(signal: AbortSignal): void {
    const wake = (): void => {
      if (document.visibilityState === "visible") this.#handle({ type: "wake" });
    };
    window.addEventListener("online", wake, { signal });
    document.addEventListener("visibilitychange", wake, { signal });
    // Others need not wait until our silence is noticed.
    window.addEventListener(
      "pagehide",
      () => {
        // A page kept in the back-forward cache comes back to this wait, and connects again.
        this.#handle({ type: "media-lost" });
      },
      { signal },
    );
  }
}
