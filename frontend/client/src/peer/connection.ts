/**
 * One `RTCPeerConnection` with its three data channels: made once, answers the server's offers, dies once.
 * It is made while the WebSocket is still opening, so that neither waits for the other.
 */

import { OrielError } from "../errors";
import { Emitter } from "../events";
import type { GeneralMessage, GeneralRequest, IceServer, KeysMessage, MotionMessage } from "../generated";
import { CHANNEL_IDS } from "../generated/constants";
import { preferLatency } from "./latency";
import { withoutLipSync, withStereo } from "./sdp";
import { Senders } from "./senders";
import { heard, Silence } from "./silence";
import type { NegotiatedTrack } from "./slots";
import { entriesOf } from "./stats";

type Failure = "ice" | "dtls" | "closed";

export type PeerEvents = {
  /** A candidate of ours, to be sent at once; null ends them. */
  candidate: RTCIceCandidate | null;
  /** Media flows. */
  connected: undefined;
  /** Nothing arrives from the other side; it may recover by itself. */
  interrupted: undefined;
  /**
   * It is over. `dtls`: the network was fine, but the encryption could not be agreed on; `closed`: the other
   * side has closed it.
   */
  failed: { readonly cause: Failure };
  /** All tracks, after each negotiation. */
  tracks: readonly NegotiatedTrack<MediaStreamTrack>[];
  general: GeneralMessage;
  /** The channels for input are open, or no longer. */
  channels: { readonly open: boolean };
};

export type PeerOptions = {
  /** Keep sound and picture in step, at the price of latency. */
  readonly lipSync: boolean;
  /** Which candidates may be used. */
  readonly iceTransportPolicy: RTCIceTransportPolicy;
};

/** Labels and ids of the data channels; agreed beforehand, so that they open without a handshake. */
const CHANNELS = {
  keys: { id: CHANNEL_IDS.keys, ordered: true },
  motion: { id: CHANNEL_IDS.motion, ordered: false, maxRetransmits: 0 },
  general: { id: CHANNEL_IDS.general, ordered: true },
} as const;

/** More than this waiting to be sent means a stalled network: a position that old is of no use. */
const MOTION_BACKLOG_BYTES = 16 * 1024;
/** With more than this queued, the other side has not read for long; keys sent now would arrive out of context. */
const KEYS_BACKLOG_BYTES = 1024 * 1024;
/** How often it is looked whether anything arrives. */
const LISTEN_MS = 1_000;
/** How long a path that `RTCPeerConnection` calls disconnected may still recover. */
const INTERRUPTED_MS = 8_000;

export class PeerConnection extends Emitter<PeerEvents> {
  /** What is sent to the streamer. */
  readonly senders = new Senders();
  readonly #pc: RTCPeerConnection;
  readonly #keys: RTCDataChannel;
  readonly #motion: RTCDataChannel;
  readonly #general: RTCDataChannel;
  readonly #options: PeerOptions;
  /** Descriptions and candidates are applied in the order of their arrival. */
  #chain: Promise<unknown> = Promise.resolve();
  #interrupted: ReturnType<typeof setTimeout> | undefined;
  #listening: ReturnType<typeof setInterval> | undefined;
  /** Nothing arrives, though ICE has not noticed yet. */
  #silent = false;
  #closed = false;
  #failed: Failure | null = null;

  constructor(options: PeerOptions) {
    super();
    this.#options = options;
    const { iceTransportPolicy } = options;
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceTransportPolicy });
    this.#keys = this.#openChannel("keys");
    this.#motion = this.#openChannel("motion");
    this.#general = this.#openChannel("general");
    this.#general.onmessage = (event: MessageEvent<unknown>) => {
      this.#receiveGeneral(event.data);
    };
    for (const channel of [this.#keys, this.#motion]) {
      channel.onopen = () => {
        this.emit("channels", { open: this.inputOpen });
      };
      // Long before ICE notices the silence, and at once when the streamer ends in good order.
      channel.onclose = () => {
        this.#fail("closed");
      };
    }
    this.#pc.onicecandidate = ({ candidate }) => {
      this.emit("candidate", candidate);
    };
    this.#pc.onconnectionstatechange = () => {
      this.#connectionStateChanged();
    };
  }

  /** Media flows, as far as is known. */
  get usable(): boolean {
    return !this.over && ["connected", "disconnected"].includes(this.#pc.connectionState);
  }

  /** Media flows now. */
  get connected(): boolean {
    return !this.over && !this.#silent && this.#pc.connectionState === "connected";
  }

  /** It is of no use, unless {@link restartable}. */
  get over(): boolean {
    return this.#closed || this.#failed !== null;
  }

  /** Another offer, with new ICE credentials, may bring it back. */
  get restartable(): boolean {
    return !this.#closed && this.negotiated && (this.#failed === null || this.#failed === "ice");
  }

  /** Media comes another way: an interrupted path may take its time. */
  keepTrying(): void {
    clearTimeout(this.#interrupted);
  }

  /** The other side has closed the connection. */
  abandon(): void {
    this.#fail("closed");
  }

  /** An offer has been applied: this connection belongs to one peer of the streamer. */
  get negotiated(): boolean {
    return this.#pc.remoteDescription !== null;
  }

  get signalingState(): RTCSignalingState {
    return this.#pc.signalingState;
  }

  get inputOpen(): boolean {
    return this.#failed === null && this.#keys.readyState === "open" && this.#motion.readyState === "open";
  }

  setIceServers(servers: readonly IceServer[]): void {
    if (servers.length === 0) return;
    this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: [...servers] });
  }

  /**
   * Answers an offer. `send` gets the answer as soon as there is one; candidates follow it as events.
   * @throws {OrielError} with reason `protocol` when the browser refuses the offer.
   */
  answer(offer: string, send: (sdp: string) => void): Promise<void> {
    return this.#enqueue(async () => {
      try {
        const sdp = this.#options.lipSync ? offer : withoutLipSync(offer);
        // After ICE has failed there is no other offer than one that restarts it.
        if (this.#failed === "ice") this.#failed = null;
        await this.#pc.setRemoteDescription({ type: "offer", sdp });
        await this.senders.prepare(this.#pc, sdp);
        // Before the answer, so that whoever plays the tracks is ready when their first packets arrive.
        this.emit("tracks", this.#negotiatedTracks());
        const answer = await this.#pc.createAnswer();
        const local = withStereo(answer.sdp ?? "");
        const applied = this.#pc.setLocalDescription({ type: "answer", sdp: local });
        // Not after it has been applied: the other side can make itself ready meanwhile. No candidate can
        // overtake it, as gathering begins with the description.
        send(local);
        await applied;
        await this.senders.negotiated();
      } catch (error) {
        if (this.#closed) return;
        throw new OrielError("protocol", "the browser refused the offer", { cause: error });
      }
    });
  }

  addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    return this.#enqueue(async () => {
      try {
        await this.#pc.addIceCandidate(candidate);
      } catch {
        // One candidate that cannot be used (a protocol the browser lacks) leaves the others.
      }
    });
  }

  /** False when it could not be sent. */
  sendKeys(message: KeysMessage): boolean {
    return sendOn(this.#keys, message, KEYS_BACKLOG_BYTES);
  }

  /** Resolves when little waits to be sent on the channel for keys; false when it is closed. */
  keysDrained(): Promise<boolean> {
    return drained(this.#keys);
  }

  /** False when it could not be sent, or would have been late. */
  sendMotion(message: MotionMessage): boolean {
    return sendOn(this.#motion, message, MOTION_BACKLOG_BYTES);
  }

  /** False when it could not be sent. */
  sendGeneral(message: GeneralRequest): boolean {
    return sendOn(this.#general, message, KEYS_BACKLOG_BYTES);
  }

  stats(): Promise<RTCStatsReport> {
    return this.#pc.getStats();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#interrupted);
    clearInterval(this.#listening);
    this.#pc.onicecandidate = null;
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  #openChannel(label: keyof typeof CHANNELS): RTCDataChannel {
    return this.#pc.createDataChannel(label, { ...CHANNELS[label], negotiated: true });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const result = this.#chain.then(work);
    this.#chain = result.catch(() => undefined);
    return result;
  }

  #negotiatedTracks(): NegotiatedTrack<MediaStreamTrack>[] {
    return this.#pc.getTransceivers().flatMap(({ mid, receiver, currentDirection, direction }) => {
      if (mid === null || ["inactive", "sendonly"].includes(direction) || currentDirection === "stopped") return [];
      preferLatency(receiver);
      const { track } = receiver;
      const kind = track.kind === "video" ? "video" : "audio";
      return [{ mid, trackId: track.id, kind, track } satisfies NegotiatedTrack<MediaStreamTrack>];
    });
  }

  #receiveGeneral(data: unknown): void {
    if (typeof data !== "string") return;
    const message = parseGeneral(data);
    if (message !== null) this.emit("general", message);
  }

  #connectionStateChanged(): void {
    clearTimeout(this.#interrupted);
    clearInterval(this.#listening);
    const wasSilent = this.#silent;
    this.#silent = false;
    switch (this.#pc.connectionState) {
      case "connected":
        this.#connected();
        this.#listen();
        break;
      case "disconnected":
        if (!wasSilent) this.emit("interrupted", undefined);
        this.#interrupted = setTimeout(() => {
          this.#fail("ice");
        }, INTERRUPTED_MS);
        break;
      case "failed":
        this.#fail(this.#dtlsFailed() ? "dtls" : "ice");
        break;
      case "closed":
        this.#fail("closed");
        break;
      default:
        break;
    }
  }

  #connected(): void {
    this.emit("connected", undefined);
    // Those of an earlier path are open already.
    if (this.inputOpen) this.emit("channels", { open: true });
  }

  /** Looks every second whether anything arrives. */
  #listen(): void {
    const silence = new Silence();
    // The statistics of one receiver have those of the transport that all share, and are much shorter than those of all.
    const [receiver] = this.#pc.getReceivers();
    if (receiver === undefined) return;
    const listening = setInterval(() => {
      void receiver.getStats().then((report) => {
        if (this.over || this.#listening !== listening) return;
        const silent = silence.isSilent(heard(entriesOf(report)));
        if (silent === this.#silent) return;
        this.#silent = silent;
        if (silent) this.emit("interrupted", undefined);
        else this.#connected();
      });
    }, LISTEN_MS);
    this.#listening = listening;
  }

  #fail(cause: Failure): void {
    if (this.#closed) return;
    if (this.#failed !== null) {
      // What is closed cannot be restarted any more.
      if (cause === "closed") this.#failed = cause;
      return;
    }
    this.#failed = cause;
    clearTimeout(this.#interrupted);
    this.emit("channels", { open: false });
    this.emit("failed", { cause });
  }

  #dtlsFailed(): boolean {
    return this.#pc.getReceivers().some((receiver) => receiver.transport?.state === "failed");
  }
}

/** Keys after a long message wait until no more than this of it is queued. */
const DRAINED_BYTES = 128 * 1024;

function drained(channel: RTCDataChannel): Promise<boolean> {
  if (channel.readyState !== "open") return Promise.resolve(false);
  if (channel.bufferedAmount <= DRAINED_BYTES) return Promise.resolve(true);
  channel.bufferedAmountLowThreshold = DRAINED_BYTES;
  return new Promise((resolve) => {
    const listening = new AbortController();
    const settle = (open: boolean): void => {
      listening.abort();
      resolve(open);
    };
    const { signal } = listening;
    channel.addEventListener("bufferedamountlow", () => { settle(true); }, { signal });
    channel.addEventListener("close", () => { settle(false); }, { signal });
  });
}

function sendOn(channel: RTCDataChannel, message: unknown, backlog: number): boolean {
  if (channel.readyState !== "open" || channel.bufferedAmount > backlog) return false;
  try {
    channel.send(JSON.stringify(message));
    return true;
  } catch {
    // The channel closed between the check and the call, or the message is longer than it takes.
    return false;
  }
}

const GENERAL_TYPES: Record<GeneralMessage["type"], (fields: Record<string, unknown>) => boolean> = {
  cursor: ({ slot, shape }) => typeof slot === "number" && typeof shape === "object",
  "cursor-position": ({ slot, at }) => typeof slot === "number" && typeof at === "object" && at !== null,
  clipboard: ({ text, html, types }) =>
    typeof text === "string" && ["string", "undefined"].includes(typeof html) && Array.isArray(types),
  download: ({ file }) =>
    typeof file === "object" && file !== null && "path" in file && typeof file.path === "string" &&
    "name" in file && typeof file.name === "string" && "size" in file && typeof file.size === "number",
  pointers: ({ pointers }) => Array.isArray(pointers),
  rumble: ({ slot, pad, strong, weak }) =>
    [slot, pad, strong, weak].every((value) => typeof value === "number"),
  path: ({ allowsKbps, reduced }) =>
    ["number", "undefined"].includes(typeof allowsKbps) && typeof reduced === "boolean",
  pong: ({ token }) => typeof token === "number",
  clock: ({ token, ticks, offsets }) =>
    typeof token === "number" && typeof ticks === "number" && Array.isArray(offsets) && offsets.every((one) => typeof one === "number"),
  error: ({ code, message }) => typeof code === "string" && typeof message === "string",
};

/** A message of `general`, or null for an unknown one. */
export function parseGeneral(text: string): GeneralMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const fields: Record<string, unknown> = { ...value };
  if (typeof fields.type !== "string" || !Object.hasOwn(GENERAL_TYPES, fields.type)) return null;
  const check = GENERAL_TYPES[fields.type as GeneralMessage["type"]];
  return check(fields) ? (value as GeneralMessage) : null;
}
