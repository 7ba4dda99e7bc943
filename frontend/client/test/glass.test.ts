import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Glass, LatencyMeter } from "../src/peer/glass";

const OFFSET = 0xffff_ff00;

/** The streamer's clock is this much ahead of the page's, ms. */
const AHEAD = 500_000;

/** The RTP timestamp, in slot 1, of a picture that was captured at `at` by the page's clock. */
const timestamp = (at: number): number => (Math.round((at + AHEAD) * 90) + OFFSET) >>> 0;

function reading(meter: LatencyMeter, at: number, { up = 2, down = 2 } = {}): void {
  meter.clock({ type: "clock", token: 0, ticks: Math.round((at + AHEAD) * 90), offsets: [7, OFFSET] }, at - up, at + down);
}

function ready(): LatencyMeter {
  const meter = new LatencyMeter();
  for (const at of [100, 300, 500]) reading(meter, at);
  return meter;
}

describe("the latency of pictures", () => {
  it("is from the capture to the presentation, whatever the clocks and timestamps begin at", () => {
    const meter = ready();
    for (let n = 0; n < 100; n++) {
      const captured = 1_000 + 40 * n;
      meter.presented(1, timestamp(captured), captured + (n < 50 ? 12 : 25) + (n === 99 ? 100 : 0));
    }
    const latency = meter.latency(1);
    expect(latency?.p50Ms).toBeCloseTo(25, 1);
    expect(latency?.p95Ms).toBeCloseTo(25, 1);
    expect(meter.latency(0)).toBeNull();
  });

  it("is taken by the reading of the clock that took the shortest way", () => {
    const meter = ready();
    reading(meter, 700, { up: 400, down: 0 });
    reading(meter, 900, { up: 0, down: 300 });
    meter.presented(1, timestamp(1_000), 1_020);
    expect(meter.latency(1)?.p50Ms).toBeCloseTo(20, 1);
  });

  it("is not told before the clock is known, nor of a slot that is not", () => {
    const meter = new LatencyMeter();
    reading(meter, 100);
    meter.presented(1, timestamp(200), 210);
    expect(meter.isReady).toBe(false);
    expect(meter.latency(1)).toBeNull();
    reading(meter, 110);
    reading(meter, 120);
    meter.presented(2, timestamp(200), 210);
    expect(meter.latency(2)).toBeNull();
  });

  it("leaves out what no picture can take, and takes small errors of the clock for none", () => {
    const meter = ready();
    meter.presented(1, timestamp(5_000), 1_000);
    meter.presented(1, timestamp(1_000), 90_000);
    expect(meter.report()).toBeNull();
    meter.presented(1, timestamp(1_005), 1_000);
    expect(meter.report()).toMatchObject({ sumMs: 0, p50Ms: 0 });
  });

  it("is reported once, in classes whose bounds belong to them", () => {
    const meter = ready();
    for (const late of [10, 10.1, 20, 1_600, 2_000]) meter.presented(1, timestamp(3_000), 3_000 + late);
    const report = meter.report();
    expect(report?.counts).toEqual([1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    expect(report?.sumMs).toBeCloseTo(3_640.1, 0);
    expect(meter.report()).toBeNull();
    meter.reset();
    expect(meter.latency(1)).toBeNull();
    expect(meter.isReady).toBe(false);
  });

  it("keeps no more than it needs", () => {
    const meter = ready();
    for (let n = 0; n < 10_000; n++) meter.presented(1, timestamp(3_000), 3_015);
    expect(meter.report()?.counts.reduce((sum, count) => sum + count, 0)).toBe(2_400);
  });
});

class FakeVideo {
  callback: ((now: number, metadata: object) => void) | null = null;
  requestVideoFrameCallback(callback: (now: number, metadata: object) => void): number {
    this.callback = callback;
    return 1;
  }
  cancelVideoFrameCallback(): void {
    this.callback = null;
  }
}

describe("measuring", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("reads the clock soon, then seldom, tells what was measured, and ends with the last video", () => {
    const sent: { type: string; token?: number }[] = [];
    const glass = new Glass((message) => {
      sent.push(message);
      return true;
    });
    const answer = (): void => {
      const at = performance.now();
      const token = sent.findLast(({ type }) => type === "clock")?.token ?? 0;
      glass.receive({ type: "clock", token, ticks: Math.round((at + AHEAD) * 90), offsets: [0, OFFSET] });
    };
    const video = new FakeVideo();
    const stop = glass.measure(video as unknown as HTMLVideoElement, 1);
    answer();
    for (let n = 0; n < 2; n++) {
      vi.advanceTimersByTime(200);
      answer();
    }
    expect(sent.map(({ type }) => type)).toEqual(["clock", "clock", "clock"]);
    const at = performance.now();
    video.callback?.(at, { presentationTime: at + 30, rtpTimestamp: timestamp(at) });
    video.callback?.(at, { presentationTime: at + 30 });
    expect(glass.latency(1)?.p50Ms).toBeCloseTo(30, 0);
    vi.advanceTimersByTime(20_400);
    expect(sent.filter(({ type }) => type === "latency")).toHaveLength(1);
    expect(sent.length).toBeLessThan(8);
    stop();
    const before = sent.length;
    vi.advanceTimersByTime(60_000);
    expect(sent).toHaveLength(before);
    expect(video.callback).toBeNull();
  });

  it("tries again soon while there is no channel", () => {
    let sent = 0;
    const glass = new Glass(() => {
      sent += 1;
      return false;
    });
    glass.measure(new FakeVideo() as unknown as HTMLVideoElement, 0);
    vi.advanceTimersByTime(1_000);
    expect(sent).toBe(6);
    glass.receive({ type: "clock", token: 1, ticks: 0, offsets: [0] });
    expect(glass.latency(0)).toBeNull();
  });
});
