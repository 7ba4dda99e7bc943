/**
 * One media socket: pictures, sound and messages over a WebSocket, for where WebRTC does not get through. Opened once, dies once;
 * its owner makes another one. Tracks of a slot exist from its first picture or sound on.
 */

import { Emitter } from "../events";
import type { AttachMedia, GeneralMessage, GeneralRequest, KeysMessage, MotionMessage } from "../generated";
import { CLOSE_PEER_GONE, MEDIA_SUBPROTOCOL } from "../generated/constants";
import { parseGeneral } from "../peer/connection";
import type { NegotiatedTrack } from "../peer/slots";
import type { Counters } from "../peer/stats";
import { webSocketUrl } from "../signaling/socket";
import { decodableCodecs } from "./codecs";
import type { SlotDecoder } from "./decoders";
import type * as DecodingModule from "./decoding";
import type { WireChannel } from "./framing";

export type WireEvents = {
  /** The streamer has taken it: messages can be sent. */
  attached: undefined;
  /** A slot has its first picture. */
  flowing: undefined;
  /** All tracks so far, each time when there are more. */
  tracks: readonly NegotiatedTrack<MediaStreamTrack>[];
  general: GeneralMessage;
  /** A slot cannot go on without a keyframe. */
  "need-keyframe": { readonly slot: number };
  /** It is over. `refused`: the server would not take another one either. */
  closed: { readonly refused: boolean };
};

export type WireOptions = {
  readonly baseUrl: string | URL;
  readonly streamerId: string;
  readonly peerId: string;
  readonly resumeToken: string;
  readonly token: string | null;
};

/** More than this waiting to be sent means a stalled network: a position that old is of no use. */
const MOTION_BACKLOG_BYTES = 16 * 1024;
/** With more than this queued, the other side has not read for long; keys sent now would arrive out of context. */
const KEYS_BACKLOG_BYTES = 1024 * 1024;
/** Keys after a long message wait until no more than this of it is queued. */
const DRAINED_BYTES = 128 * 1024;
/** How often it is looked whether that is so: a WebSocket has no event for it. */
const DRAINED_POLL_MS = 20;
/** Sound alone is acknowledged this often. */
const ACKNOWLEDGE_MS = 40;
/** With more pictures than this waiting to be decoded, what has come is not acknowledged: the streamer pauses. */
const MOST_WAITING = 6;

type Decoding = typeof DecodingModule;

let loading: Promise<Decoding> | undefined;

/** Loads the decoders. A failure is forgotten, so that the next attempt loads them again. */
export function loadDecoding(): Promise<Decoding> {
  loading ??= import("./decoding").catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

/** Where a streamer's media socket is, below the root of the web-server. */
export function mediaSocketUrl(baseUrl: string | URL, streamerId: string): URL {
  return webSocketUrl(baseUrl, `api/streamers/${encodeURIComponent(streamerId)}/media`);
}

export class WireConnection extends Emitter<WireEvents> {
  readonly #options: WireOptions;
  readonly #decoders = new Map<number, SlotDecoder>();
  /** Null until it is loaded, which is before the socket is opened. */
  #decoding: Decoding | null = null;
  #socket: WebSocket | null = null;
  #attached = false;
  #flowing = false;
  #closed = false;
  #received = 0;
  #acknowledged = 0;
  #acknowledgedAt = 0;

  constructor(options: WireOptions) {
    super();
    this.#options = options;
    void this.#open();
  }

  /** Messages can be sent. */
  get inputOpen(): boolean {
    return this.#attached && !this.#closed;
  }

  /** Pictures have come. */
  get flowing(): boolean {
    return this.#flowing && !this.#closed;
  }

  /** What has come so far is decoded into these. */
  get tracks(): NegotiatedTrack<MediaStreamTrack>[] {
    return [...this.#decoders].flatMap(([slot, { tracks }]) =>
      (["video", "audio"] as const).map((kind) => {
        const trackId = `${kind}${String(slot)}`;
        // No section of a description has such a name: the slot is known by the track's.
        return { mid: `wire-${trackId}`, trackId, kind, track: tracks[kind] };
      }),
    );
  }

  /** False when it could not be sent. */
  sendKeys(message: KeysMessage): boolean {
    return this.#send("keys", message, KEYS_BACKLOG_BYTES);
  }

  /** Resolves when little waits to be sent; false when it is closed. */
  async keysDrained(): Promise<boolean> {
    while (this.inputOpen && (this.#socket?.bufferedAmount ?? 0) > DRAINED_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, DRAINED_POLL_MS));
    }
    return this.inputOpen;
  }

  /** False when it could not be sent, or would have been late. */
  sendMotion(message: MotionMessage): boolean {
    return this.#send("motion", message, MOTION_BACKLOG_BYTES);
  }

  /** False when it could not be sent. */
  sendGeneral(message: GeneralRequest): boolean {
    return this.#send("general", message, KEYS_BACKLOG_BYTES);
  }

  /** How a slot is doing. */
  counters(slot: number): Counters {
    const decoded = this.#decoders.get(slot)?.decoded;
    return {
      at: performance.now(),
      bytes: this.#received,
      framesDecoded: decoded?.framesDecoded ?? 0,
      framesDropped: decoded?.framesDropped ?? 0,
      jitterDelayS: 0,
      jitterEmitted: 0,
      decodeS: decoded?.decodeS ?? 0,
      keyframes: decoded?.keyframes ?? 0,
      packetsLost: 0,
      freezes: 0,
      width: decoded?.width ?? 0,
      height: decoded?.height ?? 0,
      decoder: "WebCodecs",
      codec: decoded?.codec ?? "",
      iceRoundTripMs: null,
      transport: "websocket",
    };
  }

  /** Closes it without an event. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket !== null) {
      this.#socket.onmessage = null;
      this.#socket.onclose = null;
      this.#socket.close();
    }
    for (const decoder of this.#decoders.values()) decoder.close();
    this.#decoders.clear();
  }

  async #open(): Promise<void> {
    const { baseUrl, streamerId, peerId, resumeToken, token } = this.#options;
    const codecs = await decodableCodecs();
    try {
      this.#decoding = await loadDecoding();
    } catch {
      // The network is bad, or the page is older than what is served: the owner may try again.
      if (this.#closed) return;
      this.close();
      this.emit("closed", { refused: false });
      return;
    }
    if (this.#closed) return;
    const attach: AttachMedia = { peerId, resumeToken, codecs: [...codecs], ...(token === null ? {} : { token }) };
    const socket = new WebSocket(mediaSocketUrl(baseUrl, streamerId), MEDIA_SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      socket.send(JSON.stringify(attach));
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (event.data instanceof ArrayBuffer) this.#receive(event.data);
    };
    socket.onclose = ({ code }) => {
      const refused = !this.#attached && code === CLOSE_PEER_GONE;
      this.close();
      this.emit("closed", { refused });
    };
  }

  #receive(bytes: ArrayBuffer): void {
    const decoding = this.#decoding;
    if (decoding === null) return;
    this.#received += bytes.byteLength;
    const frame = decoding.readFrame(bytes);
    switch (frame?.kind) {
      case "attached":
        this.#attached = true;
        this.emit("attached", undefined);
        break;
      case "picture":
        this.#decoder(decoding, frame.slot).picture(frame);
        if (!this.#flowing) {
          this.#flowing = true;
          this.emit("flowing", undefined);
        }
        break;
      case "sound":
        this.#decoder(decoding, frame.slot).sound(frame);
        break;
      case "message": {
        const message = frame.channel === "general" ? parseGeneral(frame.text) : null;
        if (message !== null) this.emit("general", message);
        break;
      }
      case undefined:
        break;
    }
    this.#acknowledge(decoding, frame?.kind !== "sound");
  }

  /** Tells the streamer what has come, unless more waits to be decoded than is good. */
  #acknowledge(decoding: Decoding, atOnce: boolean): void {
    if (this.#closed || this.#received === this.#acknowledged) return;
    if ([...this.#decoders.values()].some(({ waiting }) => waiting > MOST_WAITING)) return;
    const now = performance.now();
    if (!atOnce && now - this.#acknowledgedAt < ACKNOWLEDGE_MS) return;
    this.#acknowledgedAt = now;
    this.#acknowledged = this.#received;
    this.#socket?.send(decoding.receivedFrame(this.#received));
  }

  #decoder(decoding: Decoding, slot: number): SlotDecoder {
    const known = this.#decoders.get(slot);
    if (known !== undefined) return known;
    const decoder = new decoding.SlotDecoder({
      needKeyframe: () => {
        this.emit("need-keyframe", { slot });
      },
      drained: () => {
        this.#acknowledge(decoding, true);
      },
    });
    this.#decoders.set(slot, decoder);
    this.emit("tracks", this.tracks);
    return decoder;
  }

  #send(channel: WireChannel, message: unknown, backlog: number): boolean {
    const socket = this.#socket;
    const decoding = this.#decoding;
    if (socket === null || decoding === null || !this.inputOpen || socket.readyState !== WebSocket.OPEN) return false;
    if (socket.bufferedAmount > backlog) return false;
    socket.send(decoding.messageFrame(channel, JSON.stringify(message)));
    return true;
  }
}
