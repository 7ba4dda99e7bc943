/**
 * The connections to a streamer, WebSocket and peer connection, and the traffic between them: offers are
 * answered, candidates relayed, a lost WebSocket resumed. It carries out the commands of the session's state
 * machine and reports what happens; it decides nothing about retrying.
 *
 * Where the peer connection does not get through, a media socket takes its place: the same peer, the same slots. Meanwhile ICE is
 * restarted now and then, as UDP may work again.
 *
 * ```text
 *                  not connected in time, or interrupted            connected
 * peer connection ──────────────────────────────────────▶ media socket ───────▶ peer connection
 * ```
 */

import { readToken, type TokenSource } from "./api";
import { OrielError } from "./errors";
import { Emitter } from "./events";
import { type Fronts, frontsAt, isUnderWay, patience, tried, welcomed } from "./fronts";
import type {
  AudioLayout,
  ClientMessage,
  GeneralMessage,
  GeneralRequest,
  KeysMessage,
  MotionMessage,
  PeerRight,
  Role,
  ServerMessage,
} from "./generated";
import { CLOSE_PEER_GONE, CLOSE_STREAMER_GONE } from "./generated/constants";
import { PeerConnection } from "./peer/connection";
import type { NegotiatedTrack } from "./peer/slots";
import { type Counters, entriesOf, readCounters } from "./peer/stats";
import { peerSocketUrl, SignalingSocket } from "./signaling/socket";
import { decodableCodecs, hasWebCodecs } from "./wire/codecs";
import { loadDecoding, WireConnection } from "./wire/connection";

export type LinkEvents = {
  /** Every message of the server, after the link itself has handled it. */
  message: ServerMessage;
  /** The WebSocket is gone. `welcomed`: it had been welcomed. `another`: the next one is opened at a node that has not been tried yet. */
  "socket-lost": { readonly welcomed: boolean; readonly another: boolean };
  /** A lost WebSocket was resumed, and the peer connection with it. */
  resumed: undefined;
  /** The server has made a new peer for us, which knows nothing of an earlier one. */
  "new-peer": undefined;
  offered: undefined;
  "media-connected": undefined;
  "media-interrupted": undefined;
  "media-lost": OrielError;
  tracks: readonly NegotiatedTrack<MediaStreamTrack>[];
  general: GeneralMessage;
  channels: { readonly open: boolean };
  /** Media does not get through, and cannot come by WebSocket either; why, for people. */
  "no-way": string;
};

/** What carries messages to the streamer. */
export type Carrier = {
  readonly inputOpen: boolean;
  sendKeys(message: KeysMessage): boolean;
  keysDrained(): Promise<boolean>;
  sendMotion(message: MotionMessage): boolean;
  sendGeneral(message: GeneralRequest): boolean;
};

/** A peer connection has this long, once the offer is applied, before a media socket is opened beside it. */
const HEAD_START_MS = 500;
/** It has this long before what decodes the pictures of a media socket is loaded: on a good network there is a picture by then. */
const LOAD_MS = 200;
/** How often a media socket that is lost is opened again before it is given up, and the first of the pauses before. */
const WIRE_ATTEMPTS = 6;
const WIRE_PAUSE_MS = 200;

/** While media comes by a media socket, it is tried this often whether the peer connection gets through by now. */
const RESTART_EVERY_MS = 10_000;

/**
 * When the other side ends the media, it says why by the WebSocket. That is another connection, so its word may come later than the
 * end; a client that left at once would come back to a session that it was just removed from.
 */
const WORD_MS = 2_000;

export type LinkOptions = {
  readonly baseUrl: string | URL;
  readonly streamerId: string;
  readonly role: Role | null;
  readonly rights: readonly PeerRight[] | null;
  readonly displayName: () => string | null;
  readonly maxBitrateKbps: () => number | null;
  readonly audio: AudioLayout | null;
  readonly pointers: boolean;
  readonly token: TokenSource;
  readonly lipSync: boolean;
  readonly iceTransportPolicy: RTCIceTransportPolicy;
};

/** Counts negotiations, so that it can be checked that there were none. */
export type Negotiation = {
  /** Peer connections made since the client exists. */
  readonly connections: number;
  /** Offers that came for the present one. */
  readonly offers: number;
  /** The current peer connection; null when there is none. */
  readonly signalingState: RTCSignalingState | null;
};

/** Marks a step of connecting for the browser's own performance tools. */
function mark(step: "opening" | "welcome" | "offer" | "answer" | "media"): void {
  performance.mark(`oriel:${step}`);
}

export class Link extends Emitter<LinkEvents> {
  readonly #options: LinkOptions;
  #socket: SignalingSocket | null = null;
  #peer: PeerConnection | null = null;
  #welcomed = false;
  #resumeToken: string | null = null;
  #fronts: Fronts;
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #connections = 0;
  #offers = 0;
  /** Turned off for good after the encryption with it could not be agreed on. */
  #srtpGcm = true;
  #peerId: string | null = null;
  /** The tracks of the peer connection. */
  #peerTracks: readonly NegotiatedTrack<MediaStreamTrack>[] = [];
  #wire: WireConnection | null = null;
  #wireTimer: ReturnType<typeof setTimeout> | undefined;
  #wireFailures = 0;
  #restartTimer: ReturnType<typeof setInterval> | undefined;
  #wordTimer: ReturnType<typeof setTimeout> | undefined;
  /** Media comes by a media socket, or did until it was lost a moment ago. */
  #onWire = false;

  constructor(options: LinkOptions) {
    super();
    this.#options = options;
    this.#fronts = frontsAt(options.baseUrl);
  }

  /** Root of the web-server that has welcomed this client last. */
  get base(): URL {
    return this.#fronts.roots[0];
  }

  get peer(): PeerConnection | null {
    return this.#peer;
  }

  /** Media flows, or will again by the same peer. */
  get usable(): boolean {
    return this.#onWire || (this.#peer?.usable ?? false);
  }

  /** What carries messages now. */
  get carrier(): Carrier | null {
    if (this.#peer?.inputOpen === true || this.#wire?.inputOpen !== true) return this.#peer;
    return this.#wire;
  }

  /** How a slot is doing; null without a connection. `mid`: its section of the description. */
  async counters(slot: number, mid: string | null): Promise<Counters | null> {
    if (this.#onWire) return this.#wire?.counters(slot) ?? null;
    const report = await this.#peer?.stats();
    if (report === undefined) return null;
    return readCounters(entriesOf(report), performance.now(), mid);
  }

  get negotiation(): Negotiation {
    const signalingState = this.#peer?.signalingState ?? null;
    return { connections: this.#connections, offers: this.#offers, signalingState };
  }

  /** Opens a WebSocket, and unless an earlier peer is resumed, makes a peer connection meanwhile. */
  open(resume: boolean): void {
    this.#closeSocket(false);
    const resumed = resume && (this.#peer !== null || this.#onWire) ? this.#resumeToken : null;
    const { streamerId, role, rights, audio, pointers } = this.#options;
    const displayName = this.#options.displayName();
    const maxBitrateKbps = this.#options.maxBitrateKbps();
    const token = readToken(this.#options.token);
    mark("opening");
    const socket = new SignalingSocket(peerSocketUrl(tried(this.#fronts), streamerId), {
      type: "hello",
      capabilities: { preallocatedSlots: true, srtpGcm: this.#srtpGcm },
      ...(token === null ? {} : { token }),
      ...(resumed === null ? {} : { resume: resumed }),
      ...(role === null ? {} : { role }),
      ...(rights === null ? {} : { rights: [...rights] }),
      ...(displayName === null ? {} : { displayName }),
      ...(maxBitrateKbps === null ? {} : { maxBitrateKbps }),
      ...(audio === null ? {} : { audio }),
      ...(pointers ? { pointers } : {}),
    });
    this.#socket = socket;
    this.#welcomed = false;
    const patienceMs = patience(this.#fronts);
    if (patienceMs !== null) {
      this.#answerTimer = setTimeout(() => {
        this.#closeSocket(false);
        this.#socketLost();
      }, patienceMs);
    }
    socket.on("message", (message) => {
      // Whatever it says: a streamer that still starts may be welcome later.
      clearTimeout(this.#answerTimer);
      this.#receive(message);
    });
    socket.on("closed", ({ code }) => {
      this.#socket = null;
      // The peer is gone, so there is nothing to resume.
      if (code === CLOSE_PEER_GONE || code === CLOSE_STREAMER_GONE) {
        this.#dropWire();
        this.#peer?.abandon();
      }
      this.#socketLost();
    });
    if (resumed === null) this.#replacePeer();
  }

  #socketLost(): void {
    clearTimeout(this.#answerTimer);
    clearTimeout(this.#wordTimer);
    if (!this.#welcomed) this.#fronts = { ...this.#fronts, failures: this.#fronts.failures + 1 };
    this.emit("socket-lost", { welcomed: this.#welcomed, another: isUnderWay(this.#fronts) });
  }

  /** Has ICE begin again on the same peer connection: its path leads nowhere, or the network is another one. */
  restartIce(): void {
    if (this.#welcomed && this.#peer?.restartable === true) this.send({ type: "restart-ice" });
  }

  close(keepMedia: boolean): void {
    this.#closeSocket(!keepMedia);
    if (!keepMedia) {
      this.#resumeToken = null;
      this.#dropPeer();
    }
  }

  send(message: ClientMessage): boolean {
    return this.#socket?.send(message) ?? false;
  }

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case "welcome":
        this.#welcome(message);
        break;
      case "offer":
        this.#answer(message.sdp);
        break;
      case "candidate": {
        const { candidate, sdpMid, sdpMLineIndex } = message;
        void this.#peer?.addCandidate({ candidate, sdpMid, sdpMLineIndex });
        break;
      }
      default:
        break;
    }
    this.emit("message", message);
  }

  #welcome(welcome: ServerMessage & { type: "welcome" }): void {
    mark("welcome");
    this.#welcomed = true;
    this.#resumeToken = welcome.resumeToken;
    this.#peerId = welcome.peerId;
    const before = this.base;
    const needsWire = this.#onWire || this.#wire !== null;
    this.#fronts = welcomed(this.#fronts, welcome.nodes ?? [], Math.random());
    if (this.base !== before) this.#leaveNode();
    if (welcome.resumed && this.usable) {
      // Credentials of TURN servers end; these are new.
      this.#peer?.setIceServers(welcome.iceServers);
      this.#wireFailures = 0;
      if (needsWire) this.#openWire();
      if (this.#peer?.connected !== true) this.restartIce();
      this.emit("resumed", undefined);
      return;
    }
    // The earlier peer is gone on one side: start again, on this WebSocket if an offer follows.
    if (welcome.resumed) {
      this.emit("media-lost", new OrielError("transport", "the resumed media path is gone"));
      return;
    }
    if (this.#peer === null || this.#peer.negotiated) this.#replacePeer();
    this.#peer?.setIceServers(welcome.iceServers);
    this.emit("new-peer", undefined);
    if (this.#peer === null) this.#openWire();
  }

  #answer(offer: string): void {
    const peer = this.#peer;
    if (peer === null) return;
    const { iceTransportPolicy } = this.#options;
    mark("offer");
    this.#offers += 1;
    this.emit("offered", undefined);
    const send = (sdp: string): void => {
      if (peer !== this.#peer) return;
      mark("answer");
      this.send({ type: "answer", sdp });
    };
    const beside = (): void => {
      if (peer !== this.#peer || peer.usable) return;
      clearTimeout(this.#wireTimer);
      this.#wireTimer = setTimeout(() => {
        if (peer !== this.#peer || peer.usable) return;
        // There when it is needed: a network that lets no media through may let no script through later.
        if (iceTransportPolicy !== "relay" && hasWebCodecs()) {
          void decodableCodecs();
          loadDecoding().catch(() => undefined);
        }
        this.#wireTimer = setTimeout(() => {
          if (!peer.usable) this.#openWire();
        }, HEAD_START_MS - LOAD_MS);
      }, LOAD_MS);
    };
    peer.answer(offer, send).then(beside).catch((error: unknown) => {
      if (peer !== this.#peer) return;
      this.emit(
        "media-lost",
        error instanceof OrielError ? error : new OrielError("protocol", "the offer could not be answered"),
      );
    });
  }

  #replacePeer(): void {
    this.#dropPeer();
    if (typeof RTCPeerConnection === "undefined") return;
    const { lipSync, iceTransportPolicy } = this.#options;
    const peer = new PeerConnection({ lipSync, iceTransportPolicy });
    this.#peer = peer;
    this.#connections += 1;
    this.#offers = 0;
    peer.on("candidate", (candidate) => {
      this.send({
        type: "candidate",
        candidate: candidate?.candidate ?? "",
        sdpMid: candidate?.sdpMid ?? null,
        sdpMLineIndex: candidate?.sdpMLineIndex ?? null,
      });
    });
    peer.on("connected", () => {
      mark("media");
      this.#leaveWire();
      this.emit("media-connected", undefined);
    });
    peer.on("interrupted", () => {
      this.emit("media-interrupted", undefined);
      this.restartIce();
      this.#openWire();
    });
    peer.on("failed", ({ cause }) => {
      if (cause === "dtls") this.#srtpGcm = false;
      // The media socket goes on; it may be about to be opened. It ends by itself when the streamer has removed the peer.
      if (cause !== "dtls" && (this.#onWire || this.#wire !== null)) return;
      if (cause === "ice" && !hasWebCodecs()) {
        this.emit(
          "no-way",
          "Neither UDP nor TCP gets through from here, and media over the WebSocket needs a page by HTTPS",
        );
      }
      this.#dropWire();
      const lost = new OrielError("transport", `the media path failed (${cause})`);
      if (cause === "closed") this.#awaitWord(lost);
      else this.emit("media-lost", lost);
    });
    peer.on("tracks", (tracks) => {
      this.#peerTracks = tracks;
      if (!this.#onWire) this.emit("tracks", tracks);
    });
    peer.on("general", (message) => {
      this.emit("general", message);
    });
    peer.on("channels", () => {
      this.#closeUnusedWire();
      this.#channelsChanged();
    });
  }

  #channelsChanged(): void {
    this.emit("channels", { open: this.carrier?.inputOpen ?? false });
  }

  /** Opens a media socket beside the peer connection, unless there is one or it cannot be. */
  #openWire(): void {
    clearTimeout(this.#wireTimer);
    const peerId = this.#peerId;
    const resumeToken = this.#resumeToken;
    const { streamerId, iceTransportPolicy } = this.#options;
    // One may be left from before the peer connection was back for a moment.
    if (this.#wire !== null) this.#useWire();
    if (this.#wire !== null || peerId === null || resumeToken === null) return;
    // Through a TURN server or not at all.
    if (iceTransportPolicy === "relay" || !hasWebCodecs()) return;
    const token = readToken(this.#options.token);
    const wire = new WireConnection({ baseUrl: this.base, streamerId, peerId, resumeToken, token });
    this.#wire = wire;
    wire.on("attached", () => {
      this.#channelsChanged();
    });
    wire.on("flowing", () => {
      this.#wireFailures = 0;
      this.#useWire();
    });
    wire.on("tracks", (tracks) => {
      if (this.#onWire) this.emit("tracks", tracks);
    });
    wire.on("general", (message) => {
      this.emit("general", message);
    });
    wire.on("need-keyframe", ({ slot }) => {
      this.send({ type: "keyframe", slot });
    });
    wire.on("closed", ({ refused }) => {
      this.#wire = null;
      this.#channelsChanged();
      this.#wireLost(refused);
    });
  }

  /** Media comes by the media socket, once it does, unless the peer connection has it. */
  #useWire(): void {
    const wire = this.#wire;
    if (this.#onWire || wire?.flowing !== true || this.#peer?.connected === true) return;
    this.#onWire = true;
    this.#peer?.keepTrying();
    this.#restartNowAndThen();
    mark("media");
    this.emit("tracks", wire.tracks);
    this.emit("media-connected", undefined);
  }

  /** Another node has welcomed this client: a media socket at the one before leads nowhere. */
  #leaveNode(): void {
    if (this.#wire === null) return;
    this.#wire.close();
    this.#wire = null;
    this.#channelsChanged();
  }

  /** The media socket is gone. It is opened again as long as it is needed. */
  #wireLost(refused: boolean): void {
    if (this.#peer?.connected === true) return;
    this.#wireFailures += 1;
    if (refused || this.#wireFailures > WIRE_ATTEMPTS) {
      const wasNeeded = this.#onWire || this.#peer === null || this.#peer.over;
      this.#onWire = false;
      if (wasNeeded) this.#awaitWord(new OrielError("transport", "the media socket was lost"));
      return;
    }
    clearTimeout(this.#wireTimer);
    this.#wireTimer = setTimeout(
      () => {
        // Without signalling, the next welcome opens it.
        const reachable = this.#socket !== null && this.#welcomed;
        if (reachable && this.#peer?.connected !== true) this.#openWire();
      },
      WIRE_PAUSE_MS * 2 ** (this.#wireFailures - 1),
    );
  }

  /** The media has been ended. It is lost when the WebSocket does not say why in time, or cannot. */
  #awaitWord(lost: OrielError): void {
    clearTimeout(this.#wordTimer);
    if (this.#socket === null || !this.#welcomed) {
      this.emit("media-lost", lost);
      return;
    }
    this.#wordTimer = setTimeout(() => {
      this.emit("media-lost", lost);
    }, WORD_MS);
  }

  #restartNowAndThen(): void {
    clearInterval(this.#restartTimer);
    this.#restartTimer = setInterval(() => {
      this.restartIce();
    }, RESTART_EVERY_MS);
  }

  /** Media comes by the peer connection. */
  #leaveWire(): void {
    clearTimeout(this.#wireTimer);
    clearInterval(this.#restartTimer);
    if (this.#onWire || this.#wire !== null) this.emit("tracks", this.#peerTracks);
    this.#onWire = false;
    this.#closeUnusedWire();
  }

  /** Messages go by the media socket until the channels of the peer connection are open. */
  #closeUnusedWire(): void {
    if (this.#peer?.connected === true && this.#peer.inputOpen) this.#dropWire();
  }

  #dropWire(): void {
    clearTimeout(this.#wireTimer);
    clearInterval(this.#restartTimer);
    this.#wireFailures = 0;
    this.#onWire = false;
    this.#wire?.close();
    this.#wire = null;
  }

  #dropPeer(): void {
    this.#dropWire();
    this.#peerTracks = [];
    const peer = this.#peer;
    if (peer === null) return;
    this.#peer = null;
    peer.close();
    this.emit("channels", { open: false });
  }

  #closeSocket(bye: boolean): void {
    clearTimeout(this.#answerTimer);
    clearTimeout(this.#wordTimer);
    this.#socket?.close({ bye });
    this.#socket = null;
  }
}
