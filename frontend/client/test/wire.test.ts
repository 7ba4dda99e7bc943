import { describe, expect, it } from "vitest";
import { codecString, messageFrame, readFrame, receivedFrame } from "../src/wire/framing";

function buffer(...bytes: number[]): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

describe("frames of a media socket", () => {
  it("reads what the streamer sends", () => {
    expect(readFrame(buffer(0))).toEqual({ kind: "attached" });
    expect(readFrame(buffer(1, 2, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0xab))).toEqual({
      kind: "picture",
      slot: 2,
      codec: "H264",
      keyframe: true,
      timeUs: 258,
      data: new Uint8Array([0xab]),
    });
    expect(readFrame(buffer(1, 0, 5, 0, 0, 0, 0, 1, 0, 0, 0, 0))).toMatchObject({
      codec: "AV1",
      keyframe: false,
      timeUs: 2 ** 32,
      data: new Uint8Array(),
    });
    expect(readFrame(buffer(2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 7, 8))).toEqual({
      kind: "sound",
      slot: 3,
      timeUs: 9,
      data: new Uint8Array([7, 8]),
    });
    expect(readFrame(buffer(3, 2, 0x7b, 0x7d))).toEqual({ kind: "message", channel: "general", text: "{}" });
  });

  it("leaves out what is no frame", () => {
    for (const bytes of [[], [77], [1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], [2, 0], [3], [3, 9]]) {
      expect(readFrame(buffer(...bytes))).toBeNull();
    }
  });

  it("writes what the streamer reads", () => {
    expect([...messageFrame("keys", "{}")]).toEqual([3, 0, 0x7b, 0x7d]);
    expect([...messageFrame("motion", "ä")]).toEqual([3, 1, 0xc3, 0xa4]);
    expect([...receivedFrame(2 ** 33 + 5)]).toEqual([4, 0, 0, 0, 2, 0, 0, 0, 5]);
  });
});

describe("the name of a codec", () => {
  it("has the profile and level of the parameter set", () => {
    const keyframe = new Uint8Array([0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x2a, 1, 0, 0, 1, 0x68]);
    expect(codecString("H264", keyframe)).toBe("avc1.42c02a");
    expect(codecString("H264", new Uint8Array([0, 0, 1, 0x65, 1, 2, 3]))).toBe("avc1.42e01f");
    expect(codecString("VP8", new Uint8Array())).toBe("vp8");
  });
});
