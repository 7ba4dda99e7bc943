/**
 * How late pictures are seen, from their capture to the screen. A picture's RTP timestamp tells when it was captured, on the
 * streamer's clock; what that clock says is asked for, as in NTP. Pure: messages and times are passed in.
 */

import type { GeneralMessage, LatencyReport } from "../generated";
import { LATENCY_BOUNDS_MS } from "../generated/constants";

/** Ticks of the streamer's clock in a millisecond. */
const TICKS_PER_MS = 90;
/** Of so many readings of the clock the one with the shortest round trip counts: both ways took about as long then. */
const READINGS = 8;
/** So many readings are enough to begin with. */
const FIRST_READINGS = 3;
/** Pictures of which half and 95 % are told: at 60 per second, those of ten seconds. */
const RECENT = 600;
/** A picture cannot be seen before it is captured; the clock is known to some milliseconds only. */
const EARLY_MS = -20;
/** What is later is no picture that has just come, but one that was held back. */
const LATE_MS = 60_000;

/** How late pictures of the last seconds were seen. */
export type Latency = {
  /** Half of them were not later, ms. */
  readonly p50Ms: number;
  /** 95 % of them were not later, ms. */
  readonly p95Ms: number;
};

type ClockMessage = GeneralMessage & { type: "clock" };
type Reading = { readonly roundTripMs: number; readonly aheadMs: number; readonly offsets: readonly number[] };

export class LatencyMeter {
  #readings: Reading[] = [];
  readonly #recent = new Map<number, number[]>();
  /** Since the last report, of all slots. */
  #unreported: number[] = [];

  /** The clock has been read often enough to be trusted. */
  get isReady(): boolean {
    return this.#readings.length >= FIRST_READINGS;
  }

  /** Takes a reading of the streamer's clock that was asked for at `sent` and came at `received`, by `performance.now()`. */
  clock({ ticks, offsets }: ClockMessage, sent: number, received: number): void {
    const aheadMs = ticks / TICKS_PER_MS - (sent + received) / 2;
    this.#readings.push({ roundTripMs: received - sent, aheadMs, offsets });
    if (this.#readings.length > READINGS) this.#readings.shift();
  }

  /** A picture of a slot with this RTP timestamp is presented at `at`, by `performance.now()`. */
  presented(slot: number, timestamp: number, at: number): void {
    const best = this.#best();
    const offset = best?.offsets[slot];
    if (best === null || offset === undefined) return;
    const now = Math.round((at + best.aheadMs) * TICKS_PER_MS);
    // Both wrap around; the difference is far below half of the range.
    const ms = ((now - (timestamp - offset)) | 0) / TICKS_PER_MS;
    if (ms < EARLY_MS || ms > LATE_MS) return;
    const late = Math.max(ms, 0);
    this.#unreported.push(late);
    if (this.#unreported.length > RECENT * 4) this.#unreported.shift();
    const recent = this.#recent.get(slot) ?? [];
    recent.push(late);
    if (recent.length > RECENT) recent.shift();
    this.#recent.set(slot, recent);
  }

  /** How it is for a slot; null while nothing was measured. */
  latency(slot: number): Latency | null {
    return quantiles(this.#recent.get(slot) ?? []);
  }

  /** What was measured since the last call; null if nothing was. */
  report(): LatencyReport | null {
    const all = this.#unreported;
    this.#unreported = [];
    const latency = quantiles(all);
    if (latency === null) return null;
    const counts = [...LATENCY_BOUNDS_MS, 0].map(() => 0);
    for (const ms of all) {
      const found = LATENCY_BOUNDS_MS.findIndex((bound) => ms <= bound);
      const at = found < 0 ? LATENCY_BOUNDS_MS.length : found;
      counts[at] = (counts[at] ?? 0) + 1;
    }
    return { counts, sumMs: all.reduce((sum, ms) => sum + ms, 0), ...latency };
  }

  /** Another peer has other timestamps, and maybe another clock. */
  reset(): void {
    this.#readings = [];
    this.#recent.clear();
    this.#unreported = [];
  }

  #best(): Reading | null {
    if (!this.isReady) return null;
    return this.#readings.reduce((best, one) => (one.roundTripMs < best.roundTripMs ? one : best));
  }
}

function quantiles(all: readonly number[]): Latency | null {
  if (all.length === 0) return null;
  const sorted = [...all].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] ?? 0;
  return { p50Ms: at(0.5), p95Ms: at(0.95) };
}

/** How often the clock is read until it is trusted. */
const FIRST_MS = 200;
/** How often it is read after that, and what was measured is told. */
const USUAL_MS = 10_000;
/** Readings that are not answered are forgotten when so many wait. */
const MOST_ASKED = 16;

/** Sends to the streamer; false when there is no channel. */
type Send = (message: { type: "clock"; token: number } | ({ type: "latency" } & LatencyReport)) => boolean;

/** Measures the videos that it is given, and tells the streamer now and then. */
export class Glass {
  readonly #send: Send;
  readonly #meter = new LatencyMeter();
  readonly #asked = new Map<number, number>();
  #videos = 0;
  #token = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #told = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  /** Measures what a video shows of a slot, until the function that is returned is called. */
  measure(video: HTMLVideoElement, slot: number): () => void {
    let handle = 0;
    const next = (): void => {
      handle = video.requestVideoFrameCallback((_now, { rtpTimestamp, presentationTime }) => {
        // Absent where the picture did not come by WebRTC.
        if (rtpTimestamp !== undefined) this.#meter.presented(slot, rtpTimestamp, presentationTime);
        next();
      });
    };
    next();
    this.#videos += 1;
    if (this.#videos === 1) this.#tick();
    return () => {
      video.cancelVideoFrameCallback(handle);
      this.#videos -= 1;
      if (this.#videos === 0) clearTimeout(this.#timer);
    };
  }

  latency(slot: number): Latency | null {
    return this.#meter.latency(slot);
  }

  receive(message: ClockMessage): void {
    const sent = this.#asked.get(message.token);
    if (sent === undefined) return;
    this.#asked.delete(message.token);
    this.#meter.clock(message, sent, performance.now());
  }

  reset(): void {
    this.#asked.clear();
    this.#meter.reset();
    if (this.#videos > 0) this.#tick();
  }

  #tick(): void {
    clearTimeout(this.#timer);
    this.#ask();
    const now = performance.now();
    if (now - this.#told >= USUAL_MS - FIRST_MS) {
      const report = this.#meter.report();
      if (report !== null && this.#send({ type: "latency", ...report })) this.#told = now;
    }
    this.#timer = setTimeout(
      () => {
        this.#tick();
      },
      this.#meter.isReady ? USUAL_MS : FIRST_MS,
    );
  }

  #ask(): void {
    this.#token = (this.#token + 1) >>> 0;
    if (!this.#send({ type: "clock", token: this.#token })) return;
    if (this.#asked.size >= MOST_ASKED) this.#asked.clear();
    this.#asked.set(this.#token, performance.now());
  }
}
