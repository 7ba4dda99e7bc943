/**
 * What this client sends: the senders of the sections in which the offer lets it publish. A track is put into its sender
 * whenever both are there, so that publishing costs no negotiation.
 */

import type { PublishKind } from "../generated";

/** In the order of the offer's sections, video first. */
const VIDEO_KINDS: readonly PublishKind[] = ["camera", "screen"];

/** The rids of simulcast layers, the best one first. */
export type PublishLayer = "h" | "l";

/** How much of a picture each layer has. */
const SCALE: Readonly<Record<PublishLayer, number>> = { h: 1, l: 4 };
const BITRATE_BPS: Readonly<Record<PublishLayer, number>> = { h: 1_800_000, l: 150_000 };
/** A screen is read: it has one layer, and more bits for it. */
const SCREEN_BITRATE_BPS = 4_000_000;

/** The sections of an offer in which a client may send, by what is for each. Pure. */
export function publishingMids(offer: string): ReadonlyMap<PublishKind, string> {
  const mids = new Map<PublishKind, string>();
  const video = [...VIDEO_KINDS];
  for (const section of offer.split(/^m=/m).slice(1)) {
    if (!/^a=recvonly\s*$/m.test(section)) continue;
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const kind = section.startsWith("video") ? video.shift() : section.startsWith("audio") ? "microphone" : undefined;
    if (mid !== undefined && kind !== undefined && !mids.has(kind)) mids.set(kind, mid);
  }
  return mids;
}

/** Which layers are to be sent, given those that anybody takes and what is sent. Pure. */
export function layerActive(kind: PublishKind, rid: string | undefined, taken: readonly string[] | null): boolean {
  // A screen has its best layer alone; a sender without layers has one.
  if (kind === "screen" && rid !== undefined && rid !== "h") return false;
  return taken === null || taken.includes(rid ?? "h");
}

export class Senders {
  readonly #senders = new Map<PublishKind, RTCRtpSender>();
  readonly #tracks = new Map<PublishKind, MediaStreamTrack>();
  /** What anybody takes, as far as it has been said. */
  readonly #layers = new Map<PublishKind, readonly string[]>();

  /** The offer has been applied and is about to be answered. */
  async prepare(pc: RTCPeerConnection, offer: string): Promise<void> {
    for (const [kind, mid] of publishingMids(offer)) {
      const transceiver = pc.getTransceivers().find((one) => one.mid === mid);
      if (transceiver === undefined) continue;
      transceiver.direction = "sendonly";
      this.#senders.set(kind, transceiver.sender);
      await this.#apply(kind);
    }
  }

  /** Encodings can be changed once the answer has been applied. */
  async negotiated(): Promise<void> {
    for (const kind of this.#tracks.keys()) await this.#encode(kind);
  }

  /** The connection has a section for it. */
  has(kind: PublishKind): boolean {
    return this.#senders.has(kind);
  }

  /** Sends a track from now on, or nothing. */
  async set(kind: PublishKind, track: MediaStreamTrack | null): Promise<void> {
    if (track === null) this.#tracks.delete(kind);
    else this.#tracks.set(kind, track);
    await this.#apply(kind);
    if (track !== null) await this.#encode(kind);
  }

  /** Sends only these layers. */
  async setLayers(kind: PublishKind, layers: readonly string[]): Promise<void> {
    this.#layers.set(kind, layers);
    await this.#encode(kind);
  }

  async #apply(kind: PublishKind): Promise<void> {
    const track = this.#tracks.get(kind) ?? null;
    const sender = this.#senders.get(kind);
    if (sender !== undefined && sender.track !== track) await sender.replaceTrack(track);
  }

  async #encode(kind: PublishKind): Promise<void> {
    const sender = this.#senders.get(kind);
    if (sender === undefined || kind === "microphone") return;
    const parameters = sender.getParameters();
    // Before the negotiation is complete there are none.
    if (parameters.encodings.length === 0) return;
    for (const encoding of parameters.encodings) {
      const { rid } = encoding;
      encoding.active = layerActive(kind, rid, this.#layers.get(kind) ?? null);
      const layer: PublishLayer = rid === "l" ? "l" : "h";
      encoding.maxBitrate = kind === "screen" ? SCREEN_BITRATE_BPS : BITRATE_BPS[layer];
      if (rid !== undefined) encoding.scaleResolutionDownBy = SCALE[layer];
    }
    try {
      await sender.setParameters(parameters);
    } catch {
      // The sender was stopped meanwhile, or the browser knows no such encodings: it sends as it likes.
    }
  }
}
