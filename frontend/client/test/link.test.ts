import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Link } from "../src/link";
import { loadDecoding } from "../src/wire/connection";

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  sent: (string | Uint8Array)[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  readonly url: URL;

  constructor(url: URL) {
    this.url = url;
    FakeSocket.all.push(this);
  }
  send(data: string | Uint8Array): void {
    this.sent.push(data);
  }
  close(): void {
    this.readyState = 3;
  }
  opens(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  says(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  frame(...bytes: number[]): void {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer });
  }
  ends(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

class FakeChannel {
  readyState = "connecting";
  bufferedAmount = 0;
  sent: string[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: (() => void) | null = null;
  send(text: string): void {
    this.sent.push(text);
  }
}

class FakePeer {
  static all: FakePeer[] = [];
  connectionState = "new";
  signalingState = "stable";
  received = 0;
  /** Nothing arrives. */
  silent = false;
  remoteDescription: object | null = null;
  readonly channels: FakeChannel[] = [];
  onicecandidate: unknown = null;
  onconnectionstatechange: (() => void) | null = null;

  constructor() {
    FakePeer.all.push(this);
  }
  createDataChannel(): FakeChannel {
    const channel = new FakeChannel();
    this.channels.push(channel);
    return channel;
  }
  setRemoteDescription(description: object): Promise<void> {
    this.remoteDescription = description;
    return Promise.resolve();
  }
  createAnswer(): Promise<object> {
    return Promise.resolve({ type: "answer", sdp: "" });
  }
  setLocalDescription(): Promise<void> {
    return Promise.resolve();
  }
  getTransceivers(): object[] {
    return [];
  }
  getReceivers(): object[] {
    const getStats = (): Promise<Map<string, object>> => {
      if (!this.silent) this.received += 1;
      return Promise.resolve(new Map([["t", { type: "transport", packetsReceived: this.received }]]));
    };
    return [{ getStats }];
  }
  getConfiguration(): object {
    return {};
  }
  setConfiguration(): void {
    // Nothing depends on it.
  }
  close(): void {
    this.connectionState = "closed";
  }
  becomes(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  opensChannels(): void {
    for (const channel of this.channels) {
      channel.readyState = "open";
      channel.onopen?.();
    }
  }
}

class FakeDecoder {
  state = "unconfigured";
  decodeQueueSize = 0;
  static isConfigSupported(): Promise<object> {
    return Promise.resolve({ supported: true });
  }
  configure(): void {
    this.state = "configured";
  }
  decode(): void {
    // Nothing is shown.
  }
  close(): void {
    this.state = "closed";
  }
}

class FakeChunk {
  readonly init: object;
  constructor(init: object) {
    this.init = init;
  }
}

class FakeGenerator {
  readonly kind: string;
  readonly writable = { getWriter: () => ({ write: () => Promise.resolve(), close: () => Promise.resolve() }) };
  constructor({ kind }: { kind: string }) {
    this.kind = kind;
  }
  stop(): void {
    // Nothing shows it.
  }
}

const KEYFRAME = [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0x67, 0x42, 0xc0, 0x2a, 0];
const WELCOME = {
  type: "welcome",
  peerId: "p1",
  resumeToken: "secret",
  resumed: false,
  role: "controller",
  rights: [],
  slots: 1,
  iceServers: [],
  protocol: 1,
};

// Loading takes real time, and time stands still in the tests.
beforeAll(() => loadDecoding());
beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  FakePeer.all = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("RTCPeerConnection", FakePeer);
  vi.stubGlobal("VideoDecoder", FakeDecoder);
  vi.stubGlobal("AudioDecoder", FakeDecoder);
  vi.stubGlobal("EncodedVideoChunk", FakeChunk);
  vi.stubGlobal("MediaStreamTrackGenerator", FakeGenerator);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const media = (): FakeSocket[] => FakeSocket.all.filter(({ url }) => url.pathname.endsWith("/media"));

/** How often the streamer was asked to restart ICE. */
const restarts = (): number =>
  FakeSocket.all.flatMap(({ sent }) => sent).filter((text) => text === '{"type":"restart-ice"}').length;

function newest<T>(all: readonly T[]): T {
  const last = all.at(-1);
  if (last === undefined) throw new Error("there is none yet");
  return last;
}

/** A link that has been welcomed and has answered the offer. */
async function joined(welcome: object = WELCOME): Promise<{ link: Link; events: string[] }> {
  const link = new Link({
    baseUrl: "http://localhost/",
    streamerId: "s",
    role: null,
    rights: null,
    displayName: () => null,
    maxBitrateKbps: () => null,
    audio: null,
    pointers: false,
    token: null,
    lipSync: false,
    iceTransportPolicy: "all",
  });
  const events: string[] = [];
  for (const type of ["media-connected", "media-lost", "resumed", "no-way"] as const) {
    link.on(type, () => events.push(type));
  }
  link.open(false);
  const socket = newest(FakeSocket.all);
  socket.opens();
  socket.says(welcome);
  socket.says({ type: "offer", sdp: "" });
  await settle();
  return { link, events };
}

/** The same, with media over the WebSocket. */
async function onWire(welcome?: object): Promise<{ link: Link; events: string[] }> {
  const all = await joined(welcome);
  await vi.advanceTimersByTimeAsync(500);
  const wire = newest(media());
  wire.opens();
  wire.frame(0);
  wire.frame(...KEYFRAME);
  return all;
}

describe("the media socket", () => {
  it("is opened when there is no connection 500 ms after the offer, for the same peer", async () => {
    const { events } = await joined();
    await vi.advanceTimersByTimeAsync(499);
    expect(media()).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    const wire = newest(media());
    wire.opens();
    const attach = JSON.parse(String(wire.sent[0])) as object;
    expect(attach).toMatchObject({ peerId: "p1", resumeToken: "secret" });
    wire.frame(0);
    expect(events).toEqual([]);
    wire.frame(...KEYFRAME);
    expect(events).toEqual(["media-connected"]);
    // Both frames are acknowledged.
    expect([...(wire.sent.at(-1) as Uint8Array)]).toEqual([4, 0, 0, 0, 0, 0, 0, 0, KEYFRAME.length + 1]);
  });

  it("is not opened where WebRTC connects in time", async () => {
    await joined();
    newest(FakePeer.all).becomes("connected");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(media()).toHaveLength(0);
  });

  it("is opened at once where there is no WebRTC", async () => {
    vi.stubGlobal("RTCPeerConnection", undefined);
    await joined();
    expect(media()).toHaveLength(1);
  });

  it("carries messages until the channels of a connection are open, and is closed then", async () => {
    const { link } = await onWire();
    expect(link.carrier?.sendKeys({ type: "key", slot: 0, code: "KeyB", down: true })).toBe(true);
    expect((newest(media()).sent.at(-1) as Uint8Array)[0]).toBe(3);
    const peer = newest(FakePeer.all);
    peer.becomes("connected");
    expect(newest(media()).readyState).toBe(1);
    peer.opensChannels();
    expect(newest(media()).readyState).toBe(3);
    link.carrier?.sendKeys({ type: "key", slot: 0, code: "KeyB", down: false });
    expect(peer.channels[0]?.sent).toHaveLength(1);
  });

  it("goes on when WebRTC gives up", async () => {
    const { link, events } = await onWire();
    newest(FakePeer.all).becomes("failed");
    expect(events).toEqual(["media-connected"]);
    expect(link.usable).toBe(true);
  });

  it("is opened when a connection is interrupted", async () => {
    await joined();
    const peer = newest(FakePeer.all);
    peer.becomes("connected");
    peer.opensChannels();
    peer.becomes("disconnected");
    await settle();
    expect(media()).toHaveLength(1);
    expect(restarts()).toBe(1);
  });

  it("is opened, and ICE restarted, when nothing has come for three seconds", async () => {
    await joined();
    const peer = newest(FakePeer.all);
    peer.becomes("connected");
    peer.opensChannels();
    await vi.advanceTimersByTimeAsync(10_000);
    peer.silent = true;
    await vi.advanceTimersByTimeAsync(2_000);
    expect([restarts(), media().length]).toEqual([0, 0]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([restarts(), media().length]).toEqual([1, 1]);
    newest(media()).opens();
    newest(media()).frame(0);
    newest(media()).frame(...KEYFRAME);
    peer.becomes("disconnected");
    expect([restarts(), media().length]).toEqual([1, 1]);
    peer.silent = false;
    peer.becomes("connected");
    expect(newest(media()).readyState).toBe(3);
  });

  it("is left for the same connection when that gets through later, also after ICE had failed", async () => {
    const { link, events } = await onWire();
    const peer = newest(FakePeer.all);
    peer.becomes("failed");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(restarts()).toBe(1);
    FakeSocket.all[0]?.says({ type: "offer", sdp: "" });
    await settle();
    peer.becomes("connecting");
    peer.becomes("connected");
    peer.opensChannels();
    expect(events).toEqual(["media-connected", "media-connected"]);
    expect(newest(media()).readyState).toBe(3);
    expect(FakePeer.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(restarts()).toBe(1);
    expect(link.usable).toBe(true);
  });

  it("goes on when the connection beside it is closed, which is not tried again", async () => {
    const { events } = await onWire();
    const peer = newest(FakePeer.all);
    peer.becomes("failed");
    peer.channels[0]?.onclose?.();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(restarts()).toBe(0);
    expect(events).toEqual(["media-connected"]);
  });

  it("is opened again for the same peer when the web-server is back", async () => {
    const { link, events } = await onWire();
    newest(media()).ends(1006);
    FakeSocket.all[0]?.ends(1012);
    expect(link.usable).toBe(true);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(media()).toHaveLength(1);
    link.open(true);
    const socket = newest(FakeSocket.all);
    socket.opens();
    expect(JSON.parse(String(socket.sent[0]))).toMatchObject({ resume: "secret" });
    socket.says({ ...WELCOME, resumed: true });
    await settle();
    expect(media()).toHaveLength(2);
    expect(events).toEqual(["media-connected", "resumed"]);
  });

  it("is given up when the server refuses it", async () => {
    const { events } = await onWire();
    newest(media()).ends(1006);
    await vi.advanceTimersByTimeAsync(200);
    newest(media()).opens();
    newest(media()).ends(4000);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(media()).toHaveLength(2);
    expect(events).toEqual(["media-connected", "media-lost"]);
  });

  it("is said to be missing where the page has no WebCodecs", async () => {
    vi.stubGlobal("VideoDecoder", undefined);
    const { events } = await joined();
    await vi.advanceTimersByTimeAsync(10_000);
    newest(FakePeer.all).becomes("failed");
    expect(media()).toHaveLength(0);
    expect(events).toEqual(["no-way", "media-lost"]);
  });
});

describe("media that the other side has ended", () => {
  async function ended(): Promise<{ link: Link; events: string[] }> {
    const all = await joined();
    const peer = newest(FakePeer.all);
    peer.becomes("connected");
    peer.opensChannels();
    peer.channels[0]?.onclose?.();
    return all;
  }

  it("is not lost while the WebSocket may still say why", async () => {
    const { link, events } = await ended();
    const messages: string[] = [];
    link.on("message", ({ type }) => messages.push(type));
    await vi.advanceTimersByTimeAsync(1_900);
    newest(FakeSocket.all).says({ type: "error", code: "removed", message: "a moderator has removed this peer" });
    expect(messages).toEqual(["error"]);
    link.close(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(events).toEqual(["media-connected"]);
  });

  it("is lost when nothing is said in time", async () => {
    const { events } = await ended();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(events).toEqual(["media-connected", "media-lost"]);
  });

  it("is lost once when the WebSocket closes first", async () => {
    const { link, events } = await ended();
    let lost = 0;
    link.on("socket-lost", () => (lost += 1));
    newest(FakeSocket.all).ends(4000);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([lost, events, link.usable]).toEqual([1, ["media-connected"], false]);
  });

  it("is lost at once while there is no WebSocket", async () => {
    const { events } = await joined();
    const peer = newest(FakePeer.all);
    peer.becomes("connected");
    newest(FakeSocket.all).ends(1006);
    peer.channels[0]?.onclose?.();
    expect(events).toEqual(["media-connected", "media-lost"]);
  });
});

describe("a node that is lost", () => {
  const NODES = ["http://localhost", "http://b:8080", "http://c/oriel"];
  const places = (): string[] => FakeSocket.all.map(({ url }) => url.href.replace(/api\/streamers\/s\//, ""));
  type Lost = { welcomed: boolean; another: boolean };

  /** A link at a node of a cluster whose media flows, and what it says of lost sockets. */
  async function inCluster(nodes: readonly unknown[] = NODES): Promise<{ link: Link; lost: Lost[]; events: string[] }> {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { link, events } = await joined({ ...WELCOME, nodes });
    const lost: Lost[] = [];
    link.on("socket-lost", (event) => lost.push(event));
    newest(FakePeer.all).becomes("connected");
    newest(FakePeer.all).opensChannels();
    return { link, lost, events };
  }

  /** Resumes by the newest socket. */
  function resumes(nodes: readonly string[] = NODES): void {
    newest(FakeSocket.all).opens();
    newest(FakeSocket.all).says({ ...WELCOME, resumed: true, resumeToken: "next", nodes });
  }

  it("is tried again, then the others in turn, with the media kept and the resume token of the last welcome", async () => {
    const { link, lost, events } = await inCluster();
    newest(FakeSocket.all).ends(1006);
    for (let attempt = 0; attempt < 3; attempt++) {
      link.open(true);
      newest(FakeSocket.all).ends(1006);
    }
    link.open(true);
    resumes();
    expect(places()).toEqual(["ws://localhost/peer", "ws://localhost/peer", "ws://b:8080/peer", "ws://c/oriel/peer", "ws://localhost/peer"]);
    expect(lost).toEqual([
      { welcomed: true, another: false },
      { welcomed: false, another: true },
      { welcomed: false, another: true },
      { welcomed: false, another: false },
    ]);
    expect(JSON.parse(String(newest(FakeSocket.all).sent[0]))).toMatchObject({ resume: "secret" });
    expect(events).toEqual(["media-connected", "resumed"]);
    expect([FakePeer.all.length, link.base.href]).toEqual([1, "http://localhost/"]);
  });

  it("is left for the one that resumes, to which media sockets then go and which is tried first the next time", async () => {
    const { link } = await inCluster();
    newest(FakeSocket.all).ends(1006);
    link.open(true);
    newest(FakeSocket.all).ends(1006);
    link.open(true);
    resumes();
    expect(link.base.href).toBe("http://b:8080/");
    newest(FakePeer.all).becomes("disconnected");
    await settle();
    expect(newest(media()).url.href).toBe("ws://b:8080/api/streamers/s/media");
    FakeSocket.all[2]?.ends(1006);
    link.open(true);
    expect(newest(FakeSocket.all).url.host).toBe("b:8080");
    expect(JSON.parse(String(FakeSocket.all[2]?.sent[0]))).toMatchObject({ resume: "secret" });
    newest(FakeSocket.all).opens();
    expect(JSON.parse(String(newest(FakeSocket.all).sent[0]))).toMatchObject({ resume: "next" });
  });

  it("takes its media socket with it, which is opened at the other one", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { link, events } = await onWire({ ...WELCOME, nodes: NODES });
    // It hangs: neither socket is closed.
    const stuck = newest(media());
    FakeSocket.all[0]?.ends(1006);
    link.open(true);
    newest(FakeSocket.all).ends(1006);
    link.open(true);
    resumes();
    await settle();
    expect(stuck.readyState).toBe(3);
    const wire = newest(media());
    expect(wire.url.href).toBe("ws://b:8080/api/streamers/s/media");
    wire.opens();
    expect(JSON.parse(String(wire.sent[0]))).toMatchObject({ resumeToken: "next" });
    expect([events, link.usable]).toEqual([["media-connected", "resumed"], true]);
  });

  it("is given up when it says nothing, sooner in the first round than in the next ones", async () => {
    const { link, lost } = await inCluster(["http://b"]);
    newest(FakeSocket.all).ends(1006);
    const silent = async (ms: number): Promise<boolean[]> => {
      link.open(true);
      newest(FakeSocket.all).opens();
      const before = lost.length;
      await vi.advanceTimersByTimeAsync(ms - 1);
      const early = lost.length > before;
      await vi.advanceTimersByTimeAsync(1);
      return [early, lost.length > before];
    };
    for (const ms of [700, 700, 1400, 1400, 2800]) expect(await silent(ms), String(ms)).toEqual([false, true]);
    expect(FakeSocket.all.slice(1).map(({ url }) => url.host)).toEqual(["localhost", "b", "localhost", "b", "localhost"]);
    expect(FakeSocket.all.every(({ readyState }) => readyState === 3)).toBe(true);
  });

  it("has answered when it has said anything, and is waited for where there is no other one", async () => {
    const { link, lost } = await inCluster(["http://b"]);
    newest(FakeSocket.all).ends(1006);
    link.open(true);
    newest(FakeSocket.all).opens();
    newest(FakeSocket.all).says({ type: "streamer-state", state: "starting" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lost).toHaveLength(1);
    newest(FakeSocket.all).says({ ...WELCOME, resumed: true });
    // This one knows of no others; what the client was given is this one.
    newest(FakeSocket.all).ends(1006);
    link.open(true);
    await vi.advanceTimersByTimeAsync(7_000);
    expect(lost).toHaveLength(2);
  });

  it("can be none that is no URL, or to which secrets would go in the clear", async () => {
    const { link } = await inCluster(["nonsense", "ftp://b", "", "javascript:alert(1)"]);
    newest(FakeSocket.all).ends(1006);
    for (let attempt = 0; attempt < 2; attempt++) {
      link.open(true);
      newest(FakeSocket.all).ends(1006);
    }
    expect(new Set(places())).toEqual(new Set(["ws://localhost/peer"]));
  });
});
