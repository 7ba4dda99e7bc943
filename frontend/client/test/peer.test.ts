import { describe, expect, it } from "vitest";
import type { StreamInfo } from "../src/generated";
import { parseGeneral } from "../src/peer/connection";
import { withoutLipSync, withStereo } from "../src/peer/sdp";
import { OrielError } from "../src/errors";
import type { ServerMessage } from "../src/generated";
import { SwitchRequests } from "../src/peer/requests";
import {
  type NegotiatedTrack,
  slotEvents,
  slotOfTrackId,
  type SlotTable,
  withMessage,
  withTracks,
} from "../src/peer/slots";
import { heard, Silence } from "../src/peer/silence";
import { readCounters, summarise } from "../src/peer/stats";
import { SlotWishes } from "../src/peer/wishes";
import { parseServerMessage } from "../src/signaling/messages";
import { peerSocketUrl } from "../src/signaling/socket";

const NONE: SlotTable<string> = new Map();

function info(slot: number, mid: string, audioMid: string | null = null): StreamInfo {
  return {
    trackId: `video${slot}`,
    mid,
    audioMid,
    slot,
    source: "main",
    windowName: null,
    appName: null,
    isFocused: false,
    width: 1280,
    height: 720,
    codec: "H264",
    fps: 30,
    cursor: "client",
    input: true,
    microphone: false,
    camera: false,
  };
}

function track(mid: string, trackId: string): NegotiatedTrack<string> {
  return { mid, trackId, kind: trackId.startsWith("audio") ? "audio" : "video", track: `track ${mid}` };
}

const TRACKS = [track("0", "video0"), track("1", "audio0"), track("2", "video1"), track("3", "audio1")];

describe("slots", () => {
  it("have their tracks by id before anything is said about them", () => {
    const table = withTracks(NONE, TRACKS);
    expect([...table.values()].map(({ slot, video, audio }) => [slot, video, audio])).toEqual([
      [0, "track 0", "track 1"],
      [1, "track 2", "track 3"],
    ]);
  });

  it("go by the media section where the server names one", () => {
    const renamed = [track("7", "{a9c1}"), track("8", "audio-x")];
    const first = withMessage(NONE, [], { type: "streams-info", streams: [info(0, "7", "8")] });
    expect(withTracks(first, renamed).get(0)).toMatchObject({ video: "track 7", audio: "track 8" });
    const second = withMessage(withTracks(NONE, renamed), renamed, {
      type: "stream-activated",
      streamInfo: info(2, "7"),
    });
    expect(second.get(2)).toMatchObject({ video: "track 7", audio: null });
  });

  it("show what the last list says, and nothing else", () => {
    let table = withTracks(NONE, TRACKS);
    table = withMessage(table, TRACKS, { type: "streams-info", streams: [info(0, "0"), info(1, "2")] });
    table = withMessage(table, TRACKS, { type: "streams-info", streams: [info(1, "2")] });
    expect([table.get(0)?.info, table.get(1)?.info?.slot]).toEqual([null, 1]);
    table = withMessage(table, TRACKS, { type: "stream-deactivated", trackId: "video1" });
    expect(table.get(1)).toMatchObject({ info: null, video: "track 2" });
  });

  it("forget the tracks of an earlier connection", () => {
    const table = withTracks(withTracks(NONE, TRACKS), [track("0", "video0")]);
    expect([table.get(0)?.audio, table.get(1)?.video]).toEqual([null, null]);
  });

  it("tell how they are doing", () => {
    const failed = withMessage(NONE, [], {
      type: "slot-status",
      slot: 3,
      stream: "main",
      quality: "",
      status: "error",
      error: "codec_unsupported",
    });
    expect(failed.get(3)).toMatchObject({
      status: "error",
      error: "codec_unsupported",
      seen: { stream: "main", quality: "" },
    });
  });

  it("stay as they are when a switch is refused", () => {
    const table = withTracks(NONE, TRACKS);
    const refusal: ServerMessage = {
      type: "slot-status",
      slot: 0,
      stream: "nowhere",
      quality: "",
      status: "error",
      error: "stream_not_found",
      requestId: "s1",
    };
    expect(withMessage(table, TRACKS, refusal)).toBe(table);
    expect(slotEvents(table, refusal)).toEqual([]);
  });

  it("tell what comes, changes and goes", () => {
    const window = { ...info(1, "2"), source: "window-7", windowName: "Editor" };
    let table = withTracks(NONE, TRACKS);
    const tell = (message: ServerMessage): string[] => {
      const events = slotEvents(table, message);
      table = withMessage(table, TRACKS, message);
      return events.map((event) => `${event.type} ${event.slot}`);
    };
    expect(tell({ type: "streams-info", streams: [info(0, "0")] })).toEqual(["slot-activated 0"]);
    expect(tell({ type: "streams-info", streams: [info(0, "0")] })).toEqual([]);
    expect(tell({ type: "stream-activated", streamInfo: window })).toEqual(["slot-activated 1"]);
    expect(tell({ type: "stream-updated", streamInfo: { ...window, isFocused: true } })).toEqual([
      "slot-updated 1",
    ]);
    expect(tell({ type: "stream-updated", streamInfo: { ...window, isFocused: true } })).toEqual([]);
    const closed: ServerMessage = { type: "stream-deactivated", trackId: "video1", reason: "closed" };
    expect(slotEvents(table, closed)).toMatchObject([
      { type: "slot-deactivated", slot: 1, reason: "closed", info: { windowName: "Editor" } },
    ]);
    expect(tell(closed)).toEqual(["slot-deactivated 1"]);
    expect(tell(closed)).toEqual([]);
    expect(tell({ type: "streams-info", streams: [] })).toEqual(["slot-deactivated 0"]);
  });

  it("are read from usual track ids only", () => {
    expect(["video0", "audio15", "video", "video-1", "xvideo1", "video100"].map(slotOfTrackId)).toEqual([
      0,
      15,
      null,
      null,
      null,
      null,
    ]);
  });
});

describe("a switch", () => {
  const status = (
    status: "pending" | "active" | "error",
    requestId: string,
    error?: string,
  ): ServerMessage => ({
    type: "slot-status",
    slot: 0,
    stream: "b",
    quality: "",
    status,
    requestId,
    ...(error === undefined ? {} : { error }),
  });

  it("is answered by the status that carries its id, once it is settled", async () => {
    const requests = new SwitchRequests();
    const ids: string[] = [];
    const ask = (): Promise<string> => requests.ask((id) => ids.push(id) > 0);
    const [first, second] = [ask(), ask()];
    const [a = "", b = ""] = ids;
    expect(a).not.toBe(b);
    requests.receive(status("pending", a));
    requests.receive(status("active", b));
    requests.receive(status("error", a, "stream_not_found"));
    await expect(second).resolves.toBe("active");
    await expect(first).rejects.toMatchObject({ reason: "refused", code: "stream_not_found" });
  });

  it("is refused by an error, and given up with the connection", async () => {
    const requests = new SwitchRequests();
    let id = "";
    const refused = requests.ask((requestId) => (id = requestId) !== "");
    requests.receive({ type: "error", code: "slot_not_found", message: "there is no slot 9", requestId: id });
    await expect(refused).rejects.toMatchObject({ code: "slot_not_found", message: "there is no slot 9" });
    const lost = requests.ask(() => true);
    requests.abandon();
    await expect(lost).rejects.toBeInstanceOf(OrielError);
    await expect(requests.ask(() => false)).rejects.toMatchObject({ reason: "not-connected" });
    await expect(requests.ask(() => true, AbortSignal.abort())).rejects.toMatchObject({ reason: "aborted" });
  });
});

describe("what a client wants of its slots", () => {
  it("is told to a new peer, and no more than that", () => {
    const wishes = new SlotWishes();
    expect(wishes.messages()).toEqual([]);
    expect([wishes.setPaused(2, true), wishes.setPaused(2, true)]).toEqual([true, false]);
    wishes.choose(1, "camera1", "360p");
    wishes.choose(3, "camera2", "");
    wishes.choose(3, "", "");
    expect(wishes.messages()).toEqual([
      { type: "switch", slot: 1, stream: "camera1", quality: "360p", requestId: "again" },
      { type: "pause", slot: 2 },
    ]);
    wishes.setPaused(2, false);
    expect(wishes.messages()).toHaveLength(1);
  });
});

describe("session descriptions", () => {
  const lines = (...text: string[]): string => [...text, ""].join("\r\n");

  it("ask for stereo in Opus and nowhere else", () => {
    const answer = lines(
      "m=audio 9 UDP/TLS/RTP/SAVPF 111",
      "a=rtpmap:111 opus/48000/2",
      "a=fmtp:111 minptime=10;useinbandfec=1",
      "m=video 9 UDP/TLS/RTP/SAVPF 108",
      "a=rtpmap:108 H264/90000",
      "a=fmtp:108 packetization-mode=1",
    );
    const changed = withStereo(answer);
    expect(changed).toContain("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n");
    expect(changed).toContain("a=fmtp:108 packetization-mode=1\r\n");
    expect(withStereo(changed)).toBe(changed);
  });

  it("put sound into a stream of its own", () => {
    const offer = lines(
      "v=0",
      "m=video 9 UDP/TLS/RTP/SAVPF 108",
      "a=msid:slot0 video0",
      "m=audio 9 UDP/TLS/RTP/SAVPF 111",
      "a=msid:slot0 audio0",
      "a=ssrc:5 msid:slot0 audio0",
    );
    const changed = withoutLipSync(offer);
    expect(changed).toContain("a=msid:slot0 video0\r\n");
    expect(changed).toContain("a=msid:slot0-sound audio0\r\n");
    expect(changed).toContain("a=ssrc:5 msid:slot0-sound audio0\r\n");
  });
});

describe("messages of the server", () => {
  it("are told from garbage", () => {
    for (const text of [
      "",
      "{",
      "[]",
      "null",
      '{"type":1}',
      '{"type":"offer"}',
      '{"type":"role","role":1}',
    ]) {
      expect(parseServerMessage(text).kind, text).toBe("malformed");
    }
    expect(parseServerMessage('{"type":"offer","sdp":"v=0"}')).toEqual({
      kind: "message",
      message: { type: "offer", sdp: "v=0" },
    });
  });

  it("of a newer protocol are left out", () => {
    expect(parseServerMessage('{"type":"hologram"}')).toEqual({ kind: "unknown", type: "hologram" });
    expect(parseServerMessage('{"type":"toString"}').kind).toBe("unknown");
  });

  it("on the data channel are told from garbage as well", () => {
    for (const text of ["", "{}", '{"type":"clipboard"}', '{"type":"cursor-position","slot":0,"at":null}']) {
      expect(parseGeneral(text), text).toBeNull();
    }
    expect(parseGeneral('{"type":"pong","token":7}')).toEqual({ type: "pong", token: 7 });
  });
});

describe("the address of the peer socket", () => {
  it("stays below the base and follows its security", () => {
    expect(peerSocketUrl("http://h:8080/", "demo").href).toBe("ws://h:8080/api/streamers/demo/peer");
    expect(peerSocketUrl("https://h/oriel/", "a b").href).toBe("wss://h/oriel/api/streamers/a%20b/peer");
  });
});

describe("statistics", () => {
  const report = (framesDecoded: number, bytesReceived: number) => [
    { id: "c", type: "codec", mimeType: "video/H264" },
    { id: "v", type: "inbound-rtp", kind: "video", mid: "0", codecId: "c", framesDecoded, bytesReceived },
    { id: "w", type: "inbound-rtp", kind: "video", mid: "2", framesDecoded: 9999 },
    { id: "p", type: "candidate-pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.004 },
  ];

  it("are rates between two reports, of the slot that was asked for", () => {
    const before = readCounters(report(30, 1000), 1000, "0");
    const now = readCounters(report(90, 251_000), 3000, "0");
    const stats = summarise(now, before);
    expect(stats).toMatchObject({ fps: 30, bitrateBps: 1_000_000, codec: "H264", iceRoundTripMs: 4 });
  });

  it("name what carries the media", () => {
    const pair = { type: "candidate-pair", nominated: true, state: "succeeded", localCandidateId: "l" };
    const over = (local: object) => readCounters([pair, { id: "l", type: "local-candidate", ...local }], 0, null).transport;
    expect(over({ candidateType: "host", protocol: "udp" })).toBe("udp");
    expect(over({ candidateType: "prflx", protocol: "tcp" })).toBe("tcp");
    expect(over({ candidateType: "relay", protocol: "udp", relayProtocol: "tls" })).toBe("relay tls");
    expect(readCounters([], 0, null).transport).toBe("");
  });

  it("begin again with a new connection", () => {
    const stats = summarise(readCounters(report(3, 10), 3000, "0"), readCounters(report(90, 9), 1000, "0"));
    expect(stats).toMatchObject({ fps: 0, bitrateBps: 0, framesDecoded: 3 });
  });
});

describe("silence on a connection", () => {
  it("counts what arrives on the path in use, of any kind", () => {
    const pair = { type: "candidate-pair", requestsReceived: 5, responsesReceived: 2 };
    const report = [
      { type: "inbound-rtp", packetsReceived: 70 },
      { type: "transport", packetsReceived: 100 },
      { ...pair, nominated: true },
      { ...pair, nominated: false },
    ];
    expect(heard(report)).toBe(107);
    expect(heard([{ type: "transport" }])).toBeNull();
  });

  it("is noticed after three seconds, and its end at once", () => {
    const silence = new Silence();
    expect([1, 1, 1, 1, 1, 2, 2].map((count) => silence.isSilent(count))).toEqual([
      false, false, false, true, true, false, false,
    ]);
  });

  it("is not concluded where the browser has no counters", () => {
    const silence = new Silence();
    expect(Array.from({ length: 9 }, () => silence.isSilent(null))).not.toContain(true);
  });
});
