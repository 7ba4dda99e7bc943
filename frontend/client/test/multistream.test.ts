import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MultiStreamClient, multiSocketUrl, type SlotStatus } from "../src/multistream";
import { parseMultiMessage } from "../src/multistream/messages";
import { WantedSlots } from "../src/multistream/wanted";

type Sent = { type: string; request_id?: string; session?: string; slot?: number; slots?: unknown };

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: Sent[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;

  readonly url: URL;

  constructor(url: URL) {
    this.url = url;
    FakeSocket.all.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Sent);
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
  breaks(): void {
    this.readyState = 3;
    this.onclose?.();
  }
  types(): string[] {
    return this.sent.map(({ type }) => type.replace("multistream/", ""));
  }
}

class FakeTrack {
  readonly kind: string;
  enabled = true;

  constructor(kind: string) {
    this.kind = kind;
  }
}

class FakeStream {
  readonly tracks = new Set<unknown>();
  addTrack(track: unknown): void {
    this.tracks.add(track);
  }
  removeTrack(track: unknown): void {
    this.tracks.delete(track);
  }
  getTracks(): unknown[] {
    return [...this.tracks];
  }
}

class FakePeer {
  static all: FakePeer[] = [];
  connectionState = "new";
  signalingState = "stable";
  localDescription: { sdp: string } | null = null;
  kinds: string[] = [];
  candidates: object[] = [];
  onicecandidate: ((event: { candidate: { candidate: string } | null }) => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;

  constructor() {
    FakePeer.all.push(this);
  }
  addTransceiver(kind: string): object {
    this.kinds.push(kind);
    return { receiver: { track: new FakeTrack(kind) } };
  }
  createOffer(): Promise<object> {
    return Promise.resolve({ type: "offer", sdp: "offer" });
  }
  setLocalDescription(): Promise<void> {
    this.localDescription = { sdp: "offer" };
    return Promise.resolve();
  }
  setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    return sdp === "broken" ? Promise.reject(new Error("broken")) : Promise.resolve();
  }
  addIceCandidate(candidate: object): Promise<void> {
    this.candidates.push(candidate);
    return Promise.resolve();
  }
  close(): void {
    this.connectionState = "closed";
  }
  becomes(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  FakePeer.all = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("RTCPeerConnection", FakePeer);
  vi.stubGlobal("MediaStream", FakeStream);
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible" }));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const SLOTS = [
  { slot: 0, stream: "a" },
  { slot: 1, stream: "b", quality: "360p" },
];

const active = (slot: number, stream: string): object => ({ slot, stream, status: "active" });

/** Lets everything that waits for promises run. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

function newest<T>(all: readonly T[]): T {
  const last = all.at(-1);
  if (last === undefined) throw new Error("there is none yet");
  return last;
}

/** Brings the newest socket from nothing to a session with media. */
async function establish(token = "token"): Promise<void> {
  const socket = newest(FakeSocket.all);
  socket.opens();
  socket.says({ type: "multistream/ready", session: token, resumed: false, slots: 2 });
  await settle();
  socket.says({ type: "multistream/answer", sdp: "answer", slots: [active(0, "a"), active(1, "b-360p")] });
  await settle();
  newest(FakePeer.all).becomes("connected");
}

async function connected(): Promise<{
  client: MultiStreamClient;
  statuses: SlotStatus[];
  tracks: Map<number, MediaStreamTrack>;
}> {
  const statuses: SlotStatus[] = [];
  const client = new MultiStreamClient("http://h/");
  const connecting = client.connect(SLOTS, (status) => statuses.push(status));
  await establish();
  return { client, statuses, tracks: await connecting };
}

describe("a multistream client", () => {
  it("asks first, offers then, and has a track for each slot", async () => {
    const { client, statuses, tracks } = await connected();
    const socket = newest(FakeSocket.all);
    expect(socket.url.href).toBe("ws://h/api/ws");
    expect(socket.types()).toEqual(["init", "offer"]);
    expect(socket.sent[0]?.slots).toEqual([
      { slot: 0, stream: "a", quality: "" },
      { slot: 1, stream: "b", quality: "360p" },
    ]);
    expect(newest(FakePeer.all).kinds).toEqual(["video", "audio", "video", "audio"]);
    expect([...tracks].map(([slot, { kind }]) => [slot, kind])).toEqual([
      [0, "video"],
      [1, "video"],
    ]);
    expect(statuses.map(({ slot, status }) => [slot, status])).toEqual([
      [0, "active"],
      [1, "active"],
    ]);
    expect(client.state.kind).toBe("connected");
    expect(client.stream(1).getTracks()).toHaveLength(2);
  });

  it("relays candidates both ways, those that come early as well", async () => {
    const client = new MultiStreamClient("http://h/");
    const connecting = client.connect(SLOTS);
    const socket = newest(FakeSocket.all);
    socket.opens();
    socket.says({ type: "multistream/ready", session: "t", resumed: false, slots: 2 });
    await settle();
    const peer = newest(FakePeer.all);
    peer.onicecandidate?.({ candidate: { candidate: "candidate:1" } });
    expect(socket.sent.slice(2)).toEqual([]);
    socket.says({ type: "multistream/ice", value: "candidate:2" });
    expect(peer.candidates).toEqual([]);
    socket.says({ type: "multistream/answer", sdp: "answer", slots: [] });
    await connecting;
    peer.onicecandidate?.({ candidate: null });
    expect(peer.candidates).toEqual([{ candidate: "candidate:2", sdpMLineIndex: 0 }]);
    expect(socket.sent.slice(2)).toEqual([
      { type: "multistream/ice", candidate: "candidate:1" },
      { type: "multistream/ice", candidate: "" },
    ]);
  });

  it("switches without an offer, and knows which answer is whose", async () => {
    const { client } = await connected();
    const socket = newest(FakeSocket.all);
    const [first, second] = [client.switchStream(0, "x"), client.switchStream(0, "nowhere")];
    const [a, b] = socket.sent.slice(2).map(({ request_id }) => request_id);
    const says = (request_id: string | undefined, status: object): void => {
      socket.says({ type: "multistream/status", request_id, slot: 0, status: { slot: 0, ...status } });
    };
    says(a, { stream: "x", status: "buffering" });
    says(b, { stream: "nowhere", status: "error", error: "stream not found" });
    says(a, { stream: "x", status: "active" });
    await expect(first).resolves.toBe("active");
    await expect(second).rejects.toMatchObject({ reason: "refused", code: "stream_not_found" });
    const third = client.switchStream(1, "y");
    socket.says({ type: "error", value: "multistream/switch: no active session" });
    await expect(third).rejects.toMatchObject({ message: "no active session" });
    await expect(client.switchStream(7, "z")).rejects.toBeInstanceOf(RangeError);
    expect([client.offers, client.signalingState]).toEqual([1, "stable"]);
  });

  it("hears all slots, the first, or the one with the focus", async () => {
    const { client } = await connected();
    const heard = (): unknown[] =>
      [0, 1].map((slot) => (client.stream(slot).getTracks() as unknown as FakeTrack[]).find(({ kind }) => kind === "audio")?.enabled);
    expect([client.audio, heard()]).toEqual(["mix", [true, true]]);
    client.audio = "first";
    expect(heard()).toEqual([true, false]);
    client.audio = "focused";
    expect(heard()).toEqual([false, false]);
    client.focus(1);
    expect(heard()).toEqual([false, true]);
    client.focus(null);
    expect(heard()).toEqual([false, false]);
    expect(() => {
      client.focus(2);
    }).toThrow(RangeError);
  });

  it("pauses, resumes and refreshes one slot or all", async () => {
    const { client } = await connected();
    const socket = newest(FakeSocket.all);
    client.pause(1);
    client.keyframe();
    client.resume();
    expect(socket.sent.slice(2)).toEqual([
      { type: "multistream/pause", slot: 1 },
      { type: "multistream/keyframe", slot: -1 },
      { type: "multistream/resume", slot: -1 },
    ]);
    expect(() => {
      client.pause(2);
    }).toThrow(RangeError);
  });

  it("resumes after a lost WebSocket, with the same media and what was asked for meanwhile", async () => {
    const { client, statuses } = await connected();
    statuses.length = 0;
    newest(FakeSocket.all).breaks();
    expect(client.state).toMatchObject({ kind: "reconnecting", mediaFlows: true });
    await expect(client.switchStream(1, "c")).rejects.toMatchObject({ reason: "not-connected" });
    await vi.advanceTimersByTimeAsync(400);
    const socket = newest(FakeSocket.all);
    expect(FakeSocket.all).toHaveLength(2);
    socket.opens();
    expect(socket.sent[0]).toMatchObject({ type: "multistream/init", session: "token" });
    socket.says({ type: "multistream/ready", session: "token", resumed: true, slots: 2 });
    socket.says({ type: "multistream/status", slot: 0, status: active(0, "a") });
    await settle();
    expect(socket.types()).toEqual(["init", "switch", "resume"]);
    expect(client.state.kind).toBe("connected");
    expect([client.offers, FakePeer.all.length]).toEqual([1, 1]);
    expect(statuses.map(({ slot, status }) => [slot, status])).toEqual([[0, "active"]]);
  });

  it("begins anew with what its slots show when the session is gone", async () => {
    const { client, tracks } = await connected();
    const stream = client.stream(0);
    const before = tracks.get(0);
    void client.switchStream(0, "c").catch(() => undefined);
    client.pause(1);
    newest(FakeSocket.all).breaks();
    await vi.advanceTimersByTimeAsync(400);
    const socket = newest(FakeSocket.all);
    socket.opens();
    socket.says({ type: "multistream/ready", session: "other", resumed: false, slots: 2 });
    await settle();
    socket.says({ type: "multistream/answer", sdp: "answer", slots: [] });
    await settle();
    expect(socket.types()).toEqual(["init", "offer", "pause"]);
    expect(socket.sent[0]?.slots).toMatchObject([
      { slot: 0, stream: "c" },
      { slot: 1, stream: "b" },
    ]);
    expect([FakePeer.all.length, FakePeer.all[0]?.connectionState]).toEqual([2, "closed"]);
    expect(tracks.get(0)).not.toBe(before);
    expect(client.stream(0)).toBe(stream);
    expect(stream.getTracks()).toContain(tracks.get(0));
    expect(stream.getTracks()).toHaveLength(2);
  });

  it("tells that its slots are offline while there is no media, and comes back by itself", async () => {
    const { client, statuses } = await connected();
    newest(FakePeer.all).becomes("failed");
    expect(statuses.slice(-2).map(({ status, error }) => [status, error])).toEqual([
      ["offline", "connection_lost"],
      ["offline", "connection_lost"],
    ]);
    expect(client.state.kind).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(400);
    await establish("second");
    expect(client.state.kind).toBe("connected");
    newest(FakeSocket.all).says({ type: "multistream/disconnected", reason: "gone" });
    expect(client.state.kind).toBe("reconnecting");
  });

  it("gives up on what the server never takes, and tries again what it took before", async () => {
    const client = new MultiStreamClient("http://h/");
    const connecting = client.connect(SLOTS);
    newest(FakeSocket.all).opens();
    newest(FakeSocket.all).says({ type: "error", value: "multistream/init: too many slots requested" });
    await expect(connecting).rejects.toMatchObject({
      reason: "refused",
      message: "too many slots requested",
    });
    expect(client.state.kind).toBe("ended");
    const again = await connected();
    newest(FakePeer.all).becomes("failed");
    await vi.advanceTimersByTimeAsync(400);
    newest(FakeSocket.all).opens();
    newest(FakeSocket.all).says({ type: "error", value: "multistream/init: the streamer is starting" });
    expect(again.client.state).toMatchObject({ kind: "reconnecting", attempt: 2 });
  });

  it("says goodbye, and can be used again", async () => {
    const { client, statuses, tracks } = await connected();
    const socket = newest(FakeSocket.all);
    statuses.length = 0;
    client.disconnect();
    expect(socket.types().at(-1)).toBe("close");
    expect([client.state.kind, tracks.size, statuses.length]).toEqual(["ended", 0, 0]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    const connecting = client.connect(SLOTS);
    await establish();
    expect(await connecting).toHaveProperty("size", 2);
  });

  it("ends with the signal of its caller", async () => {
    const client = new MultiStreamClient("http://h/");
    const stop = new AbortController();
    const connecting = client.connect(SLOTS, undefined, { signal: stop.signal });
    stop.abort();
    await expect(connecting).rejects.toMatchObject({ reason: "aborted" });
    await expect(client.connect(SLOTS, undefined, { signal: stop.signal })).rejects.toThrow("aborted");
    expect(client.state.kind).toBe("ended");
  });
});

describe("the slots of a session", () => {
  it("are numbered from 0 without a gap", () => {
    const slots = (...numbers: number[]): WantedSlots =>
      new WantedSlots(numbers.map((slot) => ({ slot, stream: "a" })));
    expect(slots(1, 0).count).toBe(2);
    for (const wrong of [[], [1], [0, 2], [0, 0], [0, 1, 1.5]]) {
      expect(() => slots(...wrong), String(wrong)).toThrow(RangeError);
    }
  });

  it("are told of by the names that were asked for", () => {
    const slots = new WantedSlots([{ slot: 0, stream: "a", quality: "360p" }]);
    const told = (stream: string): unknown =>
      slots.asAsked({ slot: 0, stream, quality: "", status: "active", error: null });
    expect(told("a-360p")).toMatchObject({ stream: "a", quality: "360p" });
    expect(told("a")).toMatchObject({ stream: "a", quality: "" });
  });
});

describe("messages of multistream", () => {
  it("are read in both shapes", () => {
    const fields = { request_id: "7", session: "t", resumed: true, slots: 3 };
    const expected = {
      kind: "message",
      message: {
        type: "ready",
        requestId: "7",
        session: "t",
        resumed: true,
        iceServers: [],
      },
    };
    const read = (message: object): unknown => parseMultiMessage(JSON.stringify(message));
    expect(read({ type: "multistream/ready", ...fields })).toEqual(expected);
    expect(read({ type: "multistream/ready", value: fields })).toEqual(expected);
    expect(read({ type: "error", value: "multistream/init: a: b" })).toMatchObject({
      message: { about: "multistream/init", message: "a: b" },
    });
  });

  it("are told from garbage and from what is newer", () => {
    for (const text of [
      "",
      "[]",
      '{"type":7}',
      '{"type":"multistream/answer"}',
      '{"type":"multistream/status","slot":0}',
      '{"type":"multistream/status","slot":0,"status":{"status":"dancing"}}',
      '{"type":"multistream/ice"}',
      '{"type":"error"}',
    ]) {
      expect(parseMultiMessage(text).kind, text).toBe("malformed");
    }
    expect(parseMultiMessage('{"type":"multistream/dance"}').kind).toBe("unknown");
    expect(parseMultiMessage('{"type":"toString"}').kind).toBe("unknown");
  });
});

describe("the address of the multistream socket", () => {
  it("stays below the base and follows its security", () => {
    expect(multiSocketUrl("https://h/oriel/grid?a=b").href).toBe("wss://h/oriel/api/ws");
    expect(multiSocketUrl("https://h/oriel/", "mix").href).toBe("wss://h/oriel/api/ws?audio=mix");
  });
});
