/**
 * The one peer connection that carries all slots: made once, offers once, dies once. Its video sections, in
 * order, are the slots; each is followed by the section of its sound.
 */

import { OrielError } from "../errors";
import { Emitter } from "../events";
import { preferLatency } from "../peer/latency";

export type SlotTracks = { readonly video: MediaStreamTrack; readonly audio: MediaStreamTrack };

export type MultiPeerEvents = {
  /** A candidate of ours; empty ends them. None comes before the answer: until then there is no peer to have it. */
  candidate: string;
  /** Media flows. */
  connected: undefined;
  /** Nothing arrives from the other side; it may recover by itself. */
  interrupted: undefined;
  /** It is over. */
  failed: undefined;
};

/** How long a path that `RTCPeerConnection` calls disconnected may still recover. */
const INTERRUPTED_MS = 8_000;

export class MultiPeer extends Emitter<MultiPeerEvents> {
  /** By slot. They exist from the start and carry whatever their slot shows. */
  readonly tracks: readonly SlotTracks[];
  readonly #pc: RTCPeerConnection;
  #interrupted: ReturnType<typeof setTimeout> | undefined;
  #over = false;
  #answered = false;
  /** Candidates that came before the answer had been applied: the server's, and ours. */
  #early: string[] = [];
  #unsent: string[] = [];

  constructor(slots: number, iceTransportPolicy: RTCIceTransportPolicy) {
    super();
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceTransportPolicy });
    this.tracks = Array.from({ length: slots }, () => {
      const [video, audio] = (["video", "audio"] as const).map((kind) => {
        const { receiver } = this.#pc.addTransceiver(kind, { direction: "recvonly" });
        preferLatency(receiver);
        return receiver.track;
      }) as [MediaStreamTrack, MediaStreamTrack];
      return { video, audio };
    });
    this.#pc.onicecandidate = ({ candidate }) => {
      const text = candidate?.candidate ?? "";
      if (this.#answered) this.emit("candidate", text);
      else this.#unsent.push(text);
    };
    this.#pc.onconnectionstatechange = () => {
      this.#connectionStateChanged();
    };
  }

  /** Media flows, as far as is known. */
  get usable(): boolean {
    return !this.#over && ["connected", "disconnected"].includes(this.#pc.connectionState);
  }

  /** It belongs to one session of the server. */
  get offered(): boolean {
    return this.#pc.localDescription !== null;
  }

  get signalingState(): RTCSignalingState {
    return this.#pc.signalingState;
  }

  /** The offer; our candidates follow it as events. */
  async offer(iceServers: readonly RTCIceServer[]): Promise<string> {
    if (iceServers.length > 0) {
      this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: [...iceServers] });
    }
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    return this.#pc.localDescription?.sdp ?? "";
  }

  /** @throws {OrielError} `protocol` when the browser refuses it. */
  async accept(answer: string): Promise<void> {
    try {
      await this.#pc.setRemoteDescription({ type: "answer", sdp: answer });
    } catch (error) {
      throw new OrielError("protocol", "the browser refused the answer", { cause: error });
    }
    this.#answered = true;
    for (const candidate of this.#early.splice(0)) this.addCandidate(candidate);
    for (const candidate of this.#unsent.splice(0)) this.emit("candidate", candidate);
  }

  addCandidate(candidate: string): void {
    if (!this.#answered) {
      this.#early.push(candidate);
      return;
    }
    // Everything is in one bundle, the first section's. A candidate that cannot be used leaves the others.
    const init = candidate === "" ? {} : { candidate, sdpMLineIndex: 0 };
    this.#pc.addIceCandidate(init).catch(() => undefined);
  }

  stats(): Promise<RTCStatsReport> {
    return this.#pc.getStats();
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#interrupted);
    this.#pc.onicecandidate = null;
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  #connectionStateChanged(): void {
    clearTimeout(this.#interrupted);
    switch (this.#pc.connectionState) {
      case "connected":
        this.emit("connected", undefined);
        break;
      case "disconnected":
        this.emit("interrupted", undefined);
        this.#interrupted = setTimeout(() => {
          this.#fail();
        }, INTERRUPTED_MS);
        break;
      case "failed":
      case "closed":
        this.#fail();
        break;
      default:
        break;
    }
  }

  #fail(): void {
    if (this.#over) return;
    this.#over = true;
    this.emit("failed", undefined);
  }
}
