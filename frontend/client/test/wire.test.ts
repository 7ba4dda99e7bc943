import { afterEach, describe, expect, it, vi } from "vitest";
import { SlotDecoder } from "../src/wire/decoders";
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

describe("a decoder that fails", () => {
  /** As the browser's, as far as a slot uses it. Fails when it is told to, and has no further event then. */
  class FakeDecoder {
    static last: FakeDecoder;
    state = "unconfigured";
    decodeQueueSize = 0;
    readonly #error: () => void;
    constructor({ error }: { error: () => void }) {
      this.#error = error;
      FakeDecoder.last = this;
    }
    configure(): void {
      this.state = "configured";
    }
    decode(): void {
      this.decodeQueueSize += 1;
    }
    close(): void {
      this.state = "closed";
    }
    fail(): void {
      this.state = "closed";
      this.decodeQueueSize = 0;
      this.#error();
    }
  }

  function decoder() {
    vi.stubGlobal("VideoDecoder", FakeDecoder);
    vi.stubGlobal("EncodedVideoChunk", vi.fn());
    vi.stubGlobal(
      "MediaStreamTrackGenerator",
      class {
        readonly writable = new WritableStream();
      },
    );
    const events = { needKeyframe: vi.fn<() => void>(), drained: vi.fn<() => void>() };
    const slot = new SlotDecoder(events);
    const picture = (keyframe: boolean): void => {
      slot.picture({ kind: "picture", slot: 0, codec: "H264", keyframe, timeUs: 0, data: new Uint8Array() });
    };
    return { slot, events, picture };
  }

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("leaves nothing waiting, and says so", () => {
    const { slot, events, picture } = decoder();
    picture(true);
    for (let n = 0; n < 9; n++) picture(false);
    expect(slot.waiting).toBe(10);
    FakeDecoder.last.fail();
    expect(slot.waiting).toBe(0);
    expect(events.drained).toHaveBeenCalled();
  });

  it("asks for a keyframe until one comes, and not with each picture", () => {
    vi.useFakeTimers();
    const { events, picture } = decoder();
    picture(true);
    FakeDecoder.last.fail();
    expect(events.needKeyframe).toHaveBeenCalledTimes(1);
    picture(false);
    vi.advanceTimersByTime(400);
    picture(false);
    expect(events.needKeyframe).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(100);
    picture(false);
    expect(events.needKeyframe).toHaveBeenCalledTimes(2);
    picture(true);
    vi.advanceTimersByTime(1000);
    picture(false);
    expect(events.needKeyframe).toHaveBeenCalledTimes(2);
  });
});
