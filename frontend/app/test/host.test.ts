import type { HostStream, Source } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { describeHost, hasHost, hostOf } from "../src/viewer/host";

const STREAM: HostStream = {
  stage: "streaming",
  quality: "ok",
  failure: null,
  termination: null,
  frames: 1,
  lost_frames: 0,
  skipped_frames: 0,
  recovered_packets: 0,
  keyframe_requests: 0,
  round_trip_ms: 1,
};

describe("the stream of a host", () => {
  it("is worth no word while all is well", () => {
    expect(describeHost(STREAM)).toBeNull();
    expect(describeHost({ ...STREAM, termination: "0x800e9403" })).toBeNull();
  });

  it("is told of by its stage and by the quality of its connection", () => {
    expect(describeHost({ ...STREAM, stage: "launching" })).toBe("The host starts the app…");
    expect(describeHost({ ...STREAM, quality: "poor" })).toBe("The connection to the host is poor");
    expect(describeHost({ ...STREAM, stage: "ended", termination: "0x80030023" })).toBe(
      "The host has ended the stream (0x80030023)",
    );
  });

  it("says what has failed, with its code", () => {
    const failure = { stage: "asking", code: "host_timeout", message: "no answer" } as const;
    expect(describeHost({ ...STREAM, stage: "lost", failure, termination: "0x1" })).toBe(
      "The host is lost, and is tried again: no answer (host_timeout, 0x1)",
    );
  });

  it("is found among other sources", () => {
    const source = (type: string, host?: HostStream) => ({ source: { type }, host }) as unknown as Source;
    expect(hostOf([source("test"), source("moonlight", STREAM)])).toBe(STREAM);
    expect(hostOf([source("moonlight")])).toBeNull();
    expect([hasHost([source("moonlight")]), hasHost([source("test")])]).toEqual([true, false]);
  });
});
