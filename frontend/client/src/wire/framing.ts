/**
 * The frames of a media socket, each a binary message: media over the WebSocket, where WebRTC does not get through. Pure.
 * `common/src/media_socket.rs` describes them.
 */

import type { VideoCodec } from "../generated";

export type WireChannel = "keys" | "motion" | "general";

/** A picture, as it is sent: H.264 and H.265 in Annex B, AV1 as OBUs with their lengths. */
export type WirePicture = {
  readonly kind: "picture";
  readonly slot: number;
  readonly codec: VideoCodec;
  readonly keyframe: boolean;
  /** When it was captured, on the clock of all slots. */
  readonly timeUs: number;
  readonly data: Uint8Array<ArrayBuffer>;
};

/** One packet of Opus, 48 kHz stereo. */
export type WireSound = {
  readonly kind: "sound";
  readonly slot: number;
  readonly timeUs: number;
  readonly data: Uint8Array<ArrayBuffer>;
};

export type WireFrame =
  /** The socket is ours. */
  | { readonly kind: "attached" }
  | WirePicture
  | WireSound
  | { readonly kind: "message"; readonly channel: WireChannel; readonly text: string };

const ATTACHED = 0;
const PICTURE = 1;
const SOUND = 2;
const MESSAGE = 3;
const RECEIVED = 4;
const MEDIA_HEADER = 12;
const KEYFRAME = 1;

const CHANNELS: readonly WireChannel[] = ["keys", "motion", "general"];
const CODECS: readonly (VideoCodec | null)[] = [null, "H264", "H265", "VP8", "VP9", "AV1"];

/** Reads a frame; null for something that is none. */
export function readFrame(bytes: ArrayBuffer): WireFrame | null {
  const view = new DataView(bytes);
  if (view.byteLength === 0) return null;
  switch (view.getUint8(0)) {
    case ATTACHED:
      return { kind: "attached" };
    case PICTURE: {
      if (view.byteLength < MEDIA_HEADER) return null;
      const codec = CODECS[view.getUint8(2)] ?? null;
      if (codec === null) return null;
      const keyframe = (view.getUint8(3) & KEYFRAME) !== 0;
      return { kind: "picture", codec, keyframe, ...media(view, bytes) };
    }
    case SOUND:
      return view.byteLength < MEDIA_HEADER ? null : { kind: "sound", ...media(view, bytes) };
    case MESSAGE: {
      const channel = view.byteLength < 2 ? undefined : CHANNELS[view.getUint8(1)];
      if (channel === undefined) return null;
      return { kind: "message", channel, text: new TextDecoder().decode(new Uint8Array(bytes, 2)) };
    }
    default:
      return null;
  }
}

function media(view: DataView, bytes: ArrayBuffer): Omit<WireSound, "kind"> {
  return {
    slot: view.getUint8(1),
    // Safe integers last for 285 years.
    timeUs: Number(view.getBigUint64(4)),
    data: new Uint8Array(bytes, MEDIA_HEADER),
  };
}

/** A message on a channel. */
export function messageFrame(channel: WireChannel, text: string): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(text);
  const frame = new Uint8Array(2 + body.length);
  frame.set([MESSAGE, CHANNELS.indexOf(channel)]);
  frame.set(body, 2);
  return frame;
}

/** How many bytes of frames have come so far. */
export function receivedFrame(bytes: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(9);
  const view = new DataView(frame.buffer);
  view.setUint8(0, RECEIVED);
  view.setBigUint64(1, BigInt(bytes));
  return frame;
}

/** The name of a codec for `VideoDecoder`, with its profile where the keyframe says it. */
export function codecString(codec: VideoCodec, keyframe: Uint8Array): string {
  switch (codec) {
    case "H264":
      return h264String(keyframe) ?? "avc1.42e01f";
    case "H265":
      return "hev1.1.6.L153.B0";
    case "VP8":
      return "vp8";
    case "VP9":
      return "vp09.00.51.08";
    case "AV1":
      return "av01.0.13M.08";
  }
}

/** Profile, constraints and level in the sequence parameter set (RFC 6381 §3.3). */
function h264String(annexB: Uint8Array): string | null {
  const SPS = 7;
  for (let at = 0; at + 6 < annexB.length; at++) {
    if (annexB[at] !== 0 || annexB[at + 1] !== 0 || annexB[at + 2] !== 1) continue;
    if (((annexB[at + 3] ?? 0) & 0x1f) !== SPS) continue;
    const about = [...annexB.subarray(at + 4, at + 7)];
    return `avc1.${about.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }
  return null;
}
