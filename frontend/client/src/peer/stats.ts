/** Figures of a connection, from the difference of two reports of `getStats()`. Pure. */

/** The entries of a report of `getStats()`. */
export function entriesOf(report: RTCStatsReport): Record<string, unknown>[] {
  return [...(report as unknown as ReadonlyMap<string, Record<string, unknown>>).values()];
}

/** How a slot's video and the connection did since the last sample. */
export type ConnectionStats = {
  /** `performance.now()` of the sample. */
  readonly at: number;
  /** Frames decoded per second. */
  readonly fps: number;
  /** Video and sound received, bits per second. */
  readonly bitrateBps: number;
  readonly width: number;
  readonly height: number;
  /** In total since the connection began. */
  readonly framesDecoded: number;
  readonly framesDropped: number;
  readonly keyframes: number;
  readonly packetsLost: number;
  readonly freezes: number;
  /** Mean time a frame waited in the jitter buffer, ms; null when none came. */
  readonly jitterBufferMs: number | null;
  /** Mean time to decode a frame, ms; null when none came. */
  readonly decodeMs: number | null;
  /** Name of the decoder, as the browser tells it. */
  readonly decoder: string;
  readonly codec: string;
  /** Round trip of ICE's own checks, ms. */
  readonly iceRoundTripMs: number | null;
  /**
   * The transport: `udp` or `tcp`, after `relay` if there is a TURN server in between; `websocket` for media over the WebSocket; empty
   * while it is unknown.
   */
  readonly transport: string;
};

/** The counters that rates are computed from. */
export type Counters = {
  readonly at: number;
  readonly bytes: number;
  readonly framesDecoded: number;
  readonly framesDropped: number;
  readonly jitterDelayS: number;
  readonly jitterEmitted: number;
  readonly decodeS: number;
  readonly keyframes: number;
  readonly packetsLost: number;
  readonly freezes: number;
  readonly width: number;
  readonly height: number;
  readonly decoder: string;
  readonly codec: string;
  readonly iceRoundTripMs: number | null;
  readonly transport: string;
};

type Entry = Readonly<Record<string, unknown>>;

/** Reads one report. `mid` picks the video's media section; without one, the first video is taken. */
export function readCounters(report: Iterable<Entry>, at: number, mid: string | null): Counters {
  const entries = [...report];
  const inbound = entries.filter((entry) => entry.type === "inbound-rtp");
  const videos = inbound.filter((entry) => entry.kind === "video");
  const video = (mid === null ? undefined : videos.find((entry) => entry.mid === mid)) ?? videos[0] ?? {};
  const codec = entries.find((entry) => entry.id === video.codecId);
  const pair = entries.find(
    (entry) => entry.type === "candidate-pair" && entry.nominated === true && entry.state === "succeeded",
  );
  const roundTrip = pair?.currentRoundTripTime;
  return {
    at,
    bytes: inbound.reduce(
      (sum, entry) => sum + number(entry.bytesReceived) + number(entry.headerBytesReceived),
      0,
    ),
    framesDecoded: number(video.framesDecoded),
    framesDropped: number(video.framesDropped),
    jitterDelayS: number(video.jitterBufferDelay),
    jitterEmitted: number(video.jitterBufferEmittedCount),
    decodeS: number(video.totalDecodeTime),
    keyframes: number(video.keyFramesDecoded),
    packetsLost: number(video.packetsLost),
    freezes: number(video.freezeCount),
    width: number(video.frameWidth),
    height: number(video.frameHeight),
    decoder: text(video.decoderImplementation),
    codec: text(codec?.mimeType).replace(/^video\//, ""),
    iceRoundTripMs: typeof roundTrip === "number" ? roundTrip * 1000 : null,
    transport: transportOf(entries, pair),
  };
}

/** What happened between two samples; with no earlier one, since the beginning. */
export function summarise(now: Counters, before: Counters | null): ConnectionStats {
  // Counters that went backwards belong to an earlier connection.
  const last = before !== null && before.framesDecoded <= now.framesDecoded ? before : null;
  const seconds = last === null ? 0 : (now.at - last.at) / 1000;
  const rate = (value: number): number => (seconds > 0 ? value / seconds : 0);
  const frames = now.framesDecoded - (last?.framesDecoded ?? 0);
  const emitted = now.jitterEmitted - (last?.jitterEmitted ?? 0);
  const mean = (sum: number, count: number): number | null => (count > 0 ? (sum / count) * 1000 : null);
  return {
    at: now.at,
    fps: rate(frames),
    bitrateBps: rate((now.bytes - (last?.bytes ?? 0)) * 8),
    width: now.width,
    height: now.height,
    framesDecoded: now.framesDecoded,
    framesDropped: now.framesDropped,
    keyframes: now.keyframes,
    packetsLost: now.packetsLost,
    freezes: now.freezes,
    jitterBufferMs: mean(now.jitterDelayS - (last?.jitterDelayS ?? 0), emitted),
    decodeMs: mean(now.decodeS - (last?.decodeS ?? 0), frames),
    decoder: now.decoder,
    codec: now.codec,
    iceRoundTripMs: now.iceRoundTripMs,
    transport: now.transport,
  };
}

function transportOf(entries: readonly Entry[], pair: Entry | undefined): string {
  const local = entries.find((entry) => entry.id === pair?.localCandidateId);
  if (local === undefined) return "";
  // By a relay: how the browser reaches it.
  const relayed = local.candidateType === "relay";
  return relayed ? `relay ${text(local.relayProtocol)}`.trim() : text(local.protocol);
}

function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
