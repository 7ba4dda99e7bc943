/**
 * The two connections to a streamer, WebSocket and peer connection, and the traffic between them: offers are
 * answered, candidates relayed, a lost WebSocket resumed. It carries out the commands of the session's state
 * machine and reports what happens; it decides nothing about retrying.
 */

import { readToken, type TokenSource } from "./api";
import { OrielError } from "./errors";
import { Emitter } from "./events";
import type { ClientMessage, GeneralMessage, PeerRight, Role, ServerMessage } from "./generated";
import { CLOSE_PEER_GONE, CLOSE_STREAMER_GONE } from "./generated/constants";
import { PeerConnection } from "./peer/connection";
import type { NegotiatedTrack } from "./peer/slots";
import { peerSocketUrl, SignalingSocket } from "./signaling/socket";

export type LinkEvents = {
  /** Every message of the server, after the link itself has handled it. */
  message: ServerMessage;
  /** The WebSocket is gone. `welcomed`: it had been welcomed. */
  "socket-lost": { readonly welcomed: boolean };
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
};

export type LinkOptions = {
  readonly baseUrl: string | URL;
  readonly streamerId: string;
  readonly role: Role | null;
  readonly rights: readonly PeerRight[] | null;
  readonly displayName: () => string | null;
  readonly maxBitrateKbps: number | null;
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
  #connections = 0;
  #offers = 0;
  /** Turned off for good after the encryption with it could not be agreed on. */
  #srtpGcm = true;

  constructor(options: LinkOptions) {
    super();
    this.#options = options;
  }

  get peer(): PeerConnection | null {
    return this.#peer;
  }

  get negotiation(): Negotiation {
    const signalingState = this.#peer?.signalingState ?? null;
    return { connections: this.#connections, offers: this.#offers, signalingState };
  }

  /** Opens a WebSocket, and unless an earlier peer is resumed, makes a peer connection meanwhile. */
  open(resume: boolean): void {
    this.#closeSocket(false);
    const resumed = resume && this.#peer !== null ? this.#resumeToken : null;
    const { baseUrl, streamerId, role, rights } = this.#options;
    const displayName = this.#options.displayName();
    const { maxBitrateKbps } = this.#options;
    const token = readToken(this.#options.token);
    mark("opening");
    const socket = new SignalingSocket(peerSocketUrl(baseUrl, streamerId), {
      type: "hello",
      capabilities: { preallocatedSlots: true, srtpGcm: this.#srtpGcm },
      ...(token === null ? {} : { token }),
      ...(resumed === null ? {} : { resume: resumed }),
      ...(role === null ? {} : { role }),
      ...(rights === null ? {} : { rights: [...rights] }),
      ...(displayName === null ? {} : { displayName }),
      ...(maxBitrateKbps === null ? {} : { maxBitrateKbps }),
    });
    this.#socket = socket;
    this.#welcomed = false;
    socket.on("message", (message) => {
      this.#receive(message);
    });
    socket.on("closed", ({ code }) => {
      this.#socket = null;
      // The peer is gone, so there is nothing to resume.
      if (code === CLOSE_PEER_GONE || code === CLOSE_STREAMER_GONE) this.#peer?.abandon();
      this.emit("socket-lost", { welcomed: this.#welcomed });
    });
    if (resumed === null) this.#replacePeer();
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
    if (welcome.resumed && this.#peer?.usable === true) {
      // Credentials of TURN servers end; these are new.
      this.#peer.setIceServers(welcome.iceServers);
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
  }

  #answer(offer: string): void {
    const peer = this.#peer;
    if (peer === null) return;
    mark("offer");
    this.#offers += 1;
    this.emit("offered", undefined);
    const send = (sdp: string): void => {
      if (peer !== this.#peer) return;
      mark("answer");
      this.send({ type: "answer", sdp });
    };
    peer.answer(offer, send).catch((error: unknown) => {
      if (peer !== this.#peer) return;
      this.emit(
        "media-lost",
        error instanceof OrielError ? error : new OrielError("protocol", "the offer could not be answered"),
      );
    });
  }

  #replacePeer(): void {
    this.#dropPeer();
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
      this.emit("media-connected", undefined);
    });
    peer.on("interrupted", () => {
      this.emit("media-interrupted", undefined);
    });
    peer.on("failed", ({ cause }) => {
      if (cause === "dtls") this.#srtpGcm = false;
      this.emit("media-lost", new OrielError("transport", `the media path failed (${cause})`));
    });
    peer.on("tracks", (tracks) => {
      this.emit("tracks", tracks);
    });
    peer.on("general", (message) => {
      this.emit("general", message);
    });
    peer.on("channels", (channels) => {
      this.emit("channels", channels);
    });
  }

  #dropPeer(): void {
    const peer = this.#peer;
    if (peer === null) return;
    this.#peer = null;
    peer.close();
    this.emit("channels", { open: false });
  }

  #closeSocket(bye: boolean): void {
    this.#socket?.close({ bye });
    this.#socket = null;
  }
}
