/**
 * A viewer of one streamer: connects, provides its slots as `MediaStream`s, sends input, reconnects by itself.
 *
 * It owns the session's state and the slots. Data comes from the {@link Link} (messages, tracks), decisions
 * from the state machine in `session.ts`, and both leave as events.
 */

import { Api, type TokenSource } from "./api";
import { withChat } from "./chat";
import { OrielError, ProblemError } from "./errors";
import { Emitter, type Listener, type ListenOptions } from "./events";
import type {
  AudioLayout,
  ChatMessage,
  Control,
  CursorShape,
  GeneralMessage,
  KeysMessage,
  MotionMessage,
  Participant,
  PeerId,
  PeerRight,
  PublishKind,
  Role,
  ServerMessage,
  SlotState,
  StreamerState,
} from "./generated";
import { MIN_SIDE } from "./generated/constants";
import { InputController, type InputOptions } from "./input/controller";
import { Link, type Negotiation } from "./link";
import type { Glass, Latency } from "./peer/glass";
import { Pinger } from "./peer/pinger";
import { SwitchRequests } from "./peer/requests";
import type { NegotiatedTrack, SlotEvent, SlotTable } from "./peer/slots";
import { slotEvents, withMessage, withTracks } from "./peer/slots";
import { type ConnectionStats, type Counters, summarise } from "./peer/stats";
import { type SessionDevice, SlotWishes } from "./peer/wishes";
import { type Publication, Publications, type PublishOptions } from "./publications";
import { advance, type Command, endOfStreamer, type EndReason, IDLE } from "./session";
import type { Session, SessionEvent } from "./session";
import { type ClientState, publicState } from "./state";
import type { ClientEvents, InputClient, NetworkPath, SlotView, WithoutSeq } from "./view";

export type ClientOptions = {
  /** Which streamer. */
  readonly streamerId: string;
  /** Root of the web-server as seen from here; the document's base when absent. */
  readonly baseUrl?: string | URL;
  /** Ask for less than this connection may have. */
  readonly role?: Role;
  /** Ask for fewer rights among the peers than this connection may have; absent: all of them. */
  readonly rights?: readonly PeerRight[];
  /** The name that the others see, 1 to 64 characters, unless the token brings one. {@link OrielClient.setDisplayName} changes it. */
  readonly displayName?: string;
  /** What is sent to this client at most, kilobits per second from 100 to 100000: to save data. {@link OrielClient.setMaxBitrate} changes it. */
  readonly maxBitrateKbps?: number;
  /**
   * `tracks`: what each slot shows is heard with it. `mix`: all that this client hears is one track, in the stream of slot 0, whatever
   * that shows, which costs small devices less. Default: `tracks`.
   */
  readonly audio?: AudioLayout;
  /** Be told by the event `pointers` where the others point. Default: false. */
  readonly pointers?: boolean;
  /** Authenticates this client, where the server requires it: a token, or a function that returns the newest one. */
  readonly token?: TokenSource;
  /** Keep sound and picture in step, at the price of latency. Default: false. */
  readonly lipSync?: boolean;
  /** `relay`: through a TURN server or not at all. Default: `all`. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy;
};

/** Error codes after which trying again would be of no use. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  "unauthorized",
  "forbidden",
  "removed",
  "protocol_mismatch",
  "room_full",
]);

/** A path of media on which nothing answers within this time leads nowhere. */
const PATH_ANSWERS_MS = 700;

/** The initial value, until the server sends another one. */
const SHARED: Control = { mode: "shared", holder: null, requests: [] };

export class OrielClient implements InputClient {
  readonly streamerId: string;
  /** At the node of the cluster that has welcomed this client last. */
  readonly api: Api;
  readonly #events = new Emitter<ClientEvents>();
  readonly #link: Link;
  readonly #pinger: Pinger;
  /** Null until something is measured. */
  #glass: Glass | null = null;
  #session: Session = IDLE;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Things that exist from connect to the end, such as listeners on the window. */
  #running: AbortController | null = null;
  #tracks: readonly NegotiatedTrack<MediaStreamTrack>[] = [];
  #table: SlotTable<MediaStreamTrack> = new Map();
  #slots: ReadonlyMap<number, SlotView> = new Map();
  #streamsKnown = false;
  readonly #requests = new SwitchRequests();
  readonly #wishes = new SlotWishes();
  readonly #publications = new Publications();
  /** The newest shape of the cursor over each slot. */
  readonly #cursors = new Map<number, CursorShape | null>();
  #role: Role | null = null;
  #rights: readonly PeerRight[] = [];
  #wantedName: string | null;
  #maxBitrateKbps: number | null;
  #displayName: string | null = null;
  /** What the session's programs have of this client. */
  readonly #devices = new Set<SessionDevice>();
  #chat: readonly ChatMessage[] = [];
  #control: Control = SHARED;
  #peerId: PeerId | null = null;
  #participants: readonly Participant[] = [];
  #path: NetworkPath = { allowsBps: null, reduced: false };
  #interrupted = false;
  #lastCounters = new Map<number, Counters>();
  #motionSeq = 0;

  constructor(options: ClientOptions) {
    const baseUrl = options.baseUrl ?? document.baseURI;
    this.streamerId = options.streamerId;
    const token = options.token ?? null;
    this.#wantedName = options.displayName ?? null;
    this.#maxBitrateKbps = options.maxBitrateKbps ?? null;
    this.api = new Api(() => this.#link.base, token);
    this.#link = new Link({
      baseUrl,
      streamerId: options.streamerId,
      role: options.role ?? null,
      rights: options.rights ?? null,
      displayName: () => this.#wantedName,
      maxBitrateKbps: () => this.#maxBitrateKbps,
      audio: options.audio ?? null,
      pointers: options.pointers ?? false,
      token,
      lipSync: options.lipSync ?? false,
      iceTransportPolicy: options.iceTransportPolicy ?? "all",
    });
    this.#pinger = new Pinger((token) => this.#link.carrier?.sendGeneral({ type: "ping", token }) ?? false);
    this.#listenToLink();
  }

  on<K extends keyof ClientEvents>(
    type: K,
    listener: Listener<ClientEvents[K]>,
    options?: ListenOptions,
  ): () => void {
    return this.#events.on(type, listener, options);
  }

  get state(): ClientState {
    return publicState(this.#session, performance.now());
  }

  /** Every slot that has been negotiated or talked about, by its index. A new map after each change. */
  get slots(): ReadonlyMap<number, SlotView> {
    return this.#slots;
  }

  /** True once the server has sent which slots show something: before, {@link slots} is incomplete. */
  get streamsKnown(): boolean {
    return this.#streamsKnown;
  }

  /** Counts negotiations. Slots change without a new offer: there is one per connection. */
  get negotiation(): Negotiation {
    return this.#link.negotiation;
  }

  /** The cursor over a slot; null while it is hidden, undefined while it is unknown. */
  cursorShape(slot: number): CursorShape | null | undefined {
    return this.#cursors.get(slot);
  }

  /** What this client may do; null before the first welcome. */
  get role(): Role | null {
    return this.#role;
  }

  /** What this client may do among the peers. */
  get rights(): readonly PeerRight[] {
    return this.#rights;
  }

  /** The session's programs hear this client's microphone while it publishes one. */
  get sessionMicrophone(): boolean {
    return this.#devices.has("session-microphone");
  }

  /** The session's programs see this client's camera while it publishes one. */
  get sessionCamera(): boolean {
    return this.#devices.has("session-camera");
  }

  /** The name that the others see; null before the first welcome, and without one. */
  get displayName(): string | null {
    return this.#displayName;
  }

  /** The name to ask for with the next connection; the token's goes before it. */
  setDisplayName(name: string | null): void {
    this.#wantedName = name;
  }

  /** What is sent to this client at most, kilobits per second, from the next connection on; null: what its path carries. */
  setMaxBitrate(kbps: number | null): void {
    this.#maxBitrateKbps = kbps;
  }

  /** What was written, the oldest first: the last 200 messages. A new list after each change. */
  get chat(): readonly ChatMessage[] {
    return this.#chat;
  }

  get peerId(): PeerId | null {
    return this.#peerId;
  }

  /** What the network allows at the moment. */
  get path(): NetworkPath {
    return this.#path;
  }

  get participants(): readonly Participant[] {
    return this.#participants;
  }

  /** Who may steer: everybody whose role permits it, or one at a time. */
  get control(): Control {
    return this.#control;
  }

  /** Whether this client may steer: by its role and, with exclusive control, as its holder. */
  get inControl(): boolean {
    const { mode, holder } = this.#control;
    return this.#role === "controller" && (mode === "shared" || holder === this.#peerId);
  }

  /** Input would arrive now. */
  get inputOpen(): boolean {
    return this.inControl && (this.#link.carrier?.inputOpen ?? false);
  }

  /** Requests control: granted at once when nobody has it; otherwise the holder is told. */
  requestControl(): void {
    this.#link.send({ type: "control-request" });
  }

  /** Takes control from whoever has it. */
  takeControl(): void {
    this.#link.send({ type: "control-take" });
  }

  /** Gives control up, or asks for it no longer. */
  releaseControl(): void {
    this.#link.send({ type: "control-release" });
  }

  /** Hands this client's control to another one. */
  grantControl(peerId: PeerId): void {
    this.#link.send({ type: "control-grant", peerId });
  }

  /** Writes to everybody. Needs the right to chat; false when there is no connection. */
  say(text: string): boolean {
    return this.#link.send({ type: "chat", text });
  }

  /** Shows everybody an emoji for a moment. Needs the right to chat. */
  react(emoji: string): void {
    this.#link.send({ type: "react", emoji });
  }

  /** Raises this client's hand, or lowers it. */
  raiseHand(raised: boolean): void {
    this.#wishes.handRaised = raised;
    this.#link.send({ type: "raise-hand", raised });
  }

  /** Tells the others whether this client's microphone is muted. That it sends silence then is the caller's to see to. */
  setMuted(muted: boolean): void {
    this.#wishes.muted = muted;
    this.#link.send({ type: "set-muted", muted });
  }

  /**
   * Lets the session's programs hear the microphone that this client publishes, now or later; or no more. Needs the role of a
   * controller, the right to publish and a desktop; `refused` or `session-microphone` tells what became of it.
   */
  setSessionMicrophone(enabled: boolean): void {
    this.#giveDevice("session-microphone", enabled);
  }

  /** The same for the camera that this client publishes: programs see it in place of any other client's. */
  setSessionCamera(enabled: boolean): void {
    this.#giveDevice("session-camera", enabled);
  }

  #giveDevice(type: SessionDevice, enabled: boolean): void {
    this.#wishes.devices[enabled ? "add" : "delete"](type);
    this.#link.send({ type, enabled });
  }

  /** Stops what another peer publishes. Needs the right to moderate. */
  mutePeer(peerId: PeerId, kind: PublishKind): void {
    this.#link.send({ type: "mute-peer", peerId, kind });
  }

  /** Removes another peer. Needs the right to moderate. */
  removePeer(peerId: PeerId): void {
    this.#link.send({ type: "remove-peer", peerId });
  }

  /**
   * Connects and stays connected until `signal` aborts, {@link disconnect} is called, or it is over for good.
   * Resolves when media flows for the first time.
   * @throws {OrielError} when it ended before.
   */
  connect(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted === true) {
      return Promise.reject(new OrielError("aborted", "aborted before it began", { cause: signal.reason }));
    }
    const first = this.#firstConnection();
    if (this.#running === null) {
      this.#running = new AbortController();
      this.#wakeOnChanges(this.#running.signal);
      signal?.addEventListener(
        "abort",
        () => {
          this.disconnect();
        },
        { signal: this.#running.signal },
      );
      this.#handle({ type: "start" });
    }
    return first;
  }

  /** Leaves. {@link connect} may be called again. */
  disconnect(): void {
    this.#handle({ type: "end", reason: { kind: "left" } });
  }

  /**
   * Shows another stream in a slot, to this client alone.
   * @param stream its name; empty: what everybody sees there.
   * @param quality a rendition as in `"360p"`; empty: the stream itself.
   * @returns how the slot is doing then, usually `active`.
   * @throws {OrielError} `refused` with the server's code; the slot then shows what it showed before.
   */
  async switch(
    slot: number,
    stream: string,
    quality = "",
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<SlotState> {
    const state = await this.#requests.ask(
      (requestId) => this.#link.send({ type: "switch", slot, stream, quality, requestId }),
      options.signal,
    );
    this.#wishes.choose(slot, stream, quality);
    return state;
  }

  /** Stops the sending of a slot to this client, until {@link resume}, also after a reconnection. */
  pause(slot: number): void {
    if (this.#wishes.setPaused(slot, true)) this.#link.send({ type: "pause", slot });
  }

  /** Sends a paused slot again. */
  resume(slot: number): void {
    if (this.#wishes.setPaused(slot, false)) this.#link.send({ type: "resume", slot });
  }

  /** This client has paused the slot. */
  isPaused(slot: number): boolean {
    return this.#wishes.isPaused(slot);
  }

  /** What this client publishes now, by kind. */
  get publications(): ReadonlyMap<PublishKind, Publication> {
    return this.#publications.current;
  }

  /**
   * Publishes a track: from now on, and after each reconnection, until {@link unpublish}. Another track of the same kind
   * takes the place of the one before, without the others noticing more than another picture.
   * @returns the source that it becomes.
   * @throws {OrielError} `refused` when this client may not publish it, `aborted` when it was unpublished before.
   */
  async publish(kind: PublishKind, track: MediaStreamTrack, options: PublishOptions = {}): Promise<Publication> {
    const published = this.#publications.want(kind, track, options);
    if (this.#session.kind === "connected") await this.#sendPublication(kind);
    return published;
  }

  /** Stops to publish. The track itself is the caller's to stop. */
  async unpublish(kind: PublishKind): Promise<void> {
    if (!this.#publications.forget(kind)) return;
    this.#link.send({ type: "unpublish", kind });
    await this.#link.peer?.senders.set(kind, null);
  }

  async #sendPublication(kind: PublishKind): Promise<void> {
    const wish = this.#publications.wishes.get(kind);
    if (wish === undefined) return;
    await this.#link.peer?.senders.set(kind, wish.track);
    const message = this.#publications.messages().find((one) => "kind" in one && one.kind === kind);
    if (message !== undefined) this.#link.send(message);
  }

  async #repeatPublications(): Promise<void> {
    for (const kind of this.#publications.wishes.keys()) await this.#sendPublication(kind);
  }

  /** Has ICE begin again unless the streamer answers on the path of the media. */
  async #lookAtPath(): Promise<void> {
    if (this.#link.peer?.connected !== true) return;
    try {
      await this.#pinger.ping(undefined, PATH_ANSWERS_MS);
    } catch (error) {
      if (error instanceof OrielError && error.reason === "timeout") this.#link.restartIce();
    }
  }

  /** Asks for a keyframe in a slot. */
  requestKeyframe(slot: number): void {
    this.#link.send({ type: "keyframe", slot });
  }

  /** Asks for another size of the desktop in a slot; sides are rounded down to even numbers. */
  resize(slot: number, width: number, height: number): boolean {
    const even = (side: number): number => Math.max(MIN_SIDE, Math.floor(side / 2) * 2);
    const message = { type: "resize", slot, width: even(width), height: even(height) } as const;
    return this.#link.carrier?.sendGeneral(message) ?? false;
  }

  /** Round trip to the streamer over the data channel, ms. */
  ping(options: { readonly signal?: AbortSignal } = {}): Promise<number> {
    return this.#pinger.ping(options.signal);
  }

  /**
   * Measures how late a video that shows a slot's stream does so, until the function that is returned is called; and tells the streamer,
   * for its operators. Nothing is measured while media comes by WebSocket.
   */
  measureLatency(video: HTMLVideoElement, slot: number): () => void {
    const over = new AbortController();
    void this.#measure(video, slot, over.signal);
    return () => {
      over.abort();
    };
  }

  async #measure(video: HTMLVideoElement, slot: number, signal: AbortSignal): Promise<void> {
    // Loaded when it is used, so that no picture waits for it. Nothing depends on it.
    const module = await import("./peer/glass").catch(() => null);
    if (module === null || signal.aborted) return;
    this.#glass ??= new module.Glass((message) => this.#link.carrier?.sendGeneral(message) ?? false);
    signal.addEventListener("abort", this.#glass.measure(video, slot), { once: true });
  }

  /** How late the pictures of a slot were seen lately, from their capture to the screen; null while that is not measured. */
  latency(slot: number): Latency | null {
    return this.#glass?.latency(slot) ?? null;
  }

  /** How a slot is doing since the last call for the same slot. */
  async stats(slot = 0): Promise<ConnectionStats | null> {
    const now = await this.#link.counters(slot, this.#table.get(slot)?.info?.mid ?? null);
    if (now === null) return null;
    const before = this.#lastCounters.get(slot) ?? null;
    this.#lastCounters.set(slot, now);
    return summarise(now, before);
  }

  /** Sends on the channel for keys; false when it could not be sent. */
  sendKeys(message: KeysMessage): boolean {
    return this.inputOpen && (this.#link.carrier?.sendKeys(message) ?? false);
  }

  /** Resolves when little waits on the channel for keys; false when it is closed. */
  async keysDrained(): Promise<boolean> {
    return this.inputOpen && ((await this.#link.carrier?.keysDrained()) ?? false);
  }

  /** Sends on the lossy channel for motion, with the next sequence number. */
  sendMotion(message: WithoutSeq<MotionMessage>): boolean {
    if (!this.inputOpen) return false;
    this.#motionSeq = (this.#motionSeq + 1) >>> 0;
    return this.#link.carrier?.sendMotion({ ...message, seq: this.#motionSeq }) ?? false;
  }

  /** Sends keyboard, pointer, wheel and clipboard of the element that shows a slot. */
  attachInput(video: HTMLVideoElement, options: InputOptions): InputController {
    return new InputController(this, video, options);
  }

  #listenToLink(): void {
    const link = this.#link;
    link.on("message", (message) => {
      this.#receive(message);
    });
    link.on("new-peer", () => {
      this.#glass?.reset();
      this.#publications.reset();
      this.#devices.clear();
      this.#repeatWishes();
    });
    link.on("offered", () => {
      this.#handle({ type: "step", step: "transport" });
    });
    link.on("socket-lost", ({ welcomed, another }) => {
      this.#requests.abandon();
      this.#handle({ type: "socket-lost", media: link.usable, another });
      if (!welcomed && !another) void this.#askWhy();
    });
    link.on("resumed", () => {
      this.#repeatWishes();
      this.#handle({ type: "connected" });
      // What has cut the WebSocket may have cut the path of the media as well, which ICE would notice seconds later.
      void this.#lookAtPath();
    });
    link.on("media-connected", () => {
      this.#setInterrupted(false);
      this.#handle({ type: "connected" });
      // To a new peer, or to one that has lost what it published while it was not heard.
      void this.#repeatPublications();
    });
    link.on("media-interrupted", () => {
      this.#setInterrupted(true);
    });
    link.on("media-lost", () => {
      this.#handle({ type: "media-lost" });
    });
    link.on("tracks", (tracks) => {
      this.#tracks = tracks;
      this.#setTable(withTracks(this.#table, tracks));
    });
    link.on("general", (message) => {
      this.#receiveGeneral(message);
    });
    link.on("no-way", (message) => {
      this.#events.emit("refused", { code: "no_way", message });
    });
    link.on("channels", () => {
      this.#events.emit("input", this.inputOpen);
    });
  }

  /** Sends the client's settings of the slots again: the peer may be a new one, or have missed changes. */
  #repeatWishes(): void {
    for (const message of this.#wishes.messages()) this.#link.send(message);
    for (const { slot, status } of this.#table.values()) {
      if (status === "paused" && !this.#wishes.isPaused(slot)) this.#link.send({ type: "resume", slot });
    }
  }

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case "chat":
        this.#setChat(withChat(this.#chat, [message]));
        this.#events.emit("chat-message", message);
        break;
      case "chat-history":
        this.#setChat(withChat(this.#chat, message.messages));
        break;
      case "reaction":
        this.#events.emit("reaction", message);
        break;
      case "muted-by":
        this.#events.emit("muted-by", message);
        break;
      default:
        this.#receiveOfStreamer(message);
        break;
    }
  }

  #receiveOfStreamer(message: ServerMessage): void {
    this.#requests.receive(message);
    this.#publications.receive(message);
    const news = slotEvents(this.#table, message);
    const first = message.type === "streams-info" && !this.#streamsKnown;
    this.#streamsKnown ||= first;
    this.#setTable(withMessage(this.#table, this.#tracks, message), first);
    for (const event of news) this.#announce(event);
    switch (message.type) {
      case "welcome":
        this.#peerId = message.peerId;
        this.#displayName = message.displayName ?? null;
        this.#setRights(message.rights);
        this.#setControl(SHARED);
        this.#setRole(message.role);
        this.#handle({ type: "step", step: "streamer" });
        break;
      case "role":
        this.#setRole(message.role);
        break;
      case "rights":
        this.#setRights(message.rights);
        break;
      case "control":
        this.#setControl({ mode: message.mode, holder: message.holder, requests: message.requests });
        break;
      case "participants":
        this.#participants = message.participants;
        this.#events.emit("participants", message.participants);
        break;
      case "published": {
        const publication = this.#publications.current.get(message.kind);
        if (publication !== undefined) this.#events.emit("published", publication);
        break;
      }
      case "unpublished":
        this.#events.emit("unpublished", { kind: message.kind, reason: message.reason ?? null });
        break;
      case "session-camera":
      case "session-microphone": {
        const { type, enabled, reason = null } = message;
        // Taken away: it is for whoever sits here to wish it again.
        if (!enabled && reason !== null) this.#wishes.devices.delete(type);
        this.#devices[enabled ? "add" : "delete"](type);
        this.#events.emit(type, { enabled, reason });
        break;
      }
      case "publish-layers":
        void this.#link.peer?.senders.setLayers(message.kind, message.layers);
        break;
      case "streamer-state":
        this.#streamerState(message.state, message.reason);
        break;
      case "error":
        // Replies to requests are delivered to their callers.
        if (message.requestId === undefined) {
          this.#events.emit("refused", { code: message.code, message: message.message });
        }
        if (message.code === "streamer_not_found") {
          this.#handle({ type: "end", reason: this.#absence() });
        } else if (FINAL_CODES.has(message.code)) {
          this.#handle({ type: "end", reason: { kind: "refused", message: message.message, code: message.code } });
        }
        break;
      default:
        break;
    }
  }

  #announce(event: SlotEvent): void {
    switch (event.type) {
      case "slot-deactivated":
        this.#cursors.delete(event.slot);
        this.#events.emit(event.type, event);
        break;
      case "slot-activated":
        this.#events.emit(event.type, event);
        break;
      case "slot-updated":
        this.#events.emit(event.type, event);
        break;
      case "slot-status":
        this.#events.emit(event.type, event);
        break;
    }
  }

  #streamerState(state: StreamerState, reason: string | undefined): void {
    this.#events.emit("streamer-state", { state, reason: reason ?? null });
    const end = endOfStreamer(state, reason);
    if (end !== undefined) this.#handle({ type: "end", reason: end });
    else if (state === "starting") this.#handle({ type: "step", step: "streamer" });
    // The process with our peer connection is gone; the next one does not know it.
    else if (state === "restarting") this.#handle({ type: "media-lost" });
  }

  #receiveGeneral(message: GeneralMessage): void {
    switch (message.type) {
      case "cursor":
        this.#cursors.set(message.slot, message.shape);
        this.#events.emit("cursor", message);
        break;
      case "cursor-position":
      case "pointers":
      case "rumble":
        this.#events.emit(message.type, message);
        break;
      case "clipboard":
        this.#events.emit("clipboard", {
          text: message.text,
          html: message.html ?? null,
          types: message.types,
        });
        break;
      case "download":
        this.#events.emit("download", message.file);
        break;
      case "path": {
        const { allowsKbps, reduced } = message;
        this.#path = { allowsBps: allowsKbps === undefined ? null : allowsKbps * 1000, reduced };
        this.#events.emit("path", this.#path);
        break;
      }
      case "pong":
        this.#pinger.pong(message.token);
        break;
      case "clock":
        this.#glass?.receive(message);
        break;
      case "error":
        this.#events.emit("refused", { code: message.code, message: message.message });
        break;
    }
  }

  /** A browser does not tell why a WebSocket could not be opened; the REST API does. */
  async #askWhy(): Promise<void> {
    const signal = this.#running?.signal;
    if (signal === undefined) return;
    try {
      const { state, reason } = await this.api.streamer(this.streamerId, { signal });
      const end = endOfStreamer(state, reason ?? undefined);
      if (end !== undefined) this.#handle({ type: "end", reason: end });
    } catch (error) {
      if (!(error instanceof ProblemError)) return;
      if (error.status === 404) this.#handle({ type: "end", reason: this.#absence() });
      if (error.status === 401 || error.status === 403) {
        this.#handle({ type: "end", reason: { kind: "refused", message: error.message, code: error.code } });
      }
    }
  }

  /**
   * The meaning of a missing streamer. The notice of its end may have been overtaken by the end of
   * the media path, or have gone out while there was no network: what was there before has ended.
   */
  #absence(): EndReason {
    return this.#peerId === null ? { kind: "not-found" } : { kind: "stopped" };
  }

  #handle(event: SessionEvent): void {
    const before = this.#session;
    const { state, commands } = advance(before, event, performance.now(), Math.random());
    this.#session = state;
    if (state.kind === "ended" && before.kind !== "ended") {
      this.#running?.abort();
      this.#running = null;
    }
    if (state.kind !== "waiting") clearTimeout(this.#timer);
    for (const command of commands) this.#carryOut(command);
    if (state !== before) this.#events.emit("state", this.state);
  }

  #carryOut(command: Command): void {
    switch (command.type) {
      case "open":
        this.#link.open(command.resume);
        break;
      case "close":
        if (!command.keepMedia) this.#events.emit("media-closing", undefined);
        this.#link.close(command.keepMedia);
        break;
      case "wait":
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
          this.#handle({ type: "timer" });
        }, command.ms);
        break;
    }
  }

  #firstConnection(): Promise<void> {
    if (this.#session.kind === "connected") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const stop = this.#events.on("state", (state) => {
        if (state.kind === "connected") {
          stop();
          resolve();
        } else if (state.kind === "ended") {
          stop();
          const reason = state.reason.kind === "left" ? "aborted" : "not-connected";
          reject(new OrielError(reason, `ended before it was connected: ${state.reason.kind}`));
        }
      });
    });
  }

  #wakeOnChanges(signal: AbortSignal): void {
    const wake = (): void => {
      if (document.visibilityState === "visible") this.#handle({ type: "wake" });
    };
    const online = (): void => {
      wake();
      void this.#lookAtPath();
    };
    window.addEventListener("online", online, { signal });
    document.addEventListener("visibilitychange", wake, { signal });
    // Others need not wait until our silence is noticed.
    window.addEventListener(
      "pagehide",
      () => {
        this.disconnect();
        // A page from the back-forward cache is shown as it was left: without a connection.
        const back = (): void => {
          this.connect().catch(() => undefined);
        };
        window.addEventListener("pageshow", back, { once: true });
      },
      { signal },
    );
  }

  #setControl(control: Control): void {
    if (control.mode === "shared" && this.#control.mode === "shared") return;
    this.#control = control;
    this.#events.emit("control", control);
    this.#events.emit("input", this.inputOpen);
  }

  #setRole(role: Role): void {
    if (role === this.#role) return;
    this.#role = role;
    this.#events.emit("role", role);
    this.#events.emit("input", this.inputOpen);
  }

  #setRights(rights: readonly PeerRight[]): void {
    if (rights.join() === this.#rights.join()) return;
    this.#rights = rights;
    this.#events.emit("rights", rights);
  }

  #setChat(chat: readonly ChatMessage[]): void {
    if (chat === this.#chat) return;
    this.#chat = chat;
    this.#events.emit("chat", chat);
  }

  #setInterrupted(interrupted: boolean): void {
    if (interrupted === this.#interrupted) return;
    this.#interrupted = interrupted;
    this.#events.emit("interrupted", interrupted);
  }

  #setTable(table: SlotTable<MediaStreamTrack>, anyway = false): void {
    if (table === this.#table && !anyway) return;
    this.#table = table;
    this.#slots = new Map(
      [...table].map(([slot, entry]) => {
        const tracks = [entry.video, entry.audio].filter((track) => track !== null);
        const old = this.#slots.get(slot)?.stream;
        const stream = old !== undefined && sameTracks(old, tracks) ? old : new MediaStream(tracks);
        const { info, status, seen, error } = entry;
        return [slot, { slot, info, stream, status, seen, error }];
      }),
    );
    this.#events.emit("slots", this.#slots);
  }
}

function sameTracks(stream: MediaStream, tracks: readonly MediaStreamTrack[]): boolean {
  const held = stream.getTracks();
  return held.length === tracks.length && tracks.every((track) => held.includes(track));
}
