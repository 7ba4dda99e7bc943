/**
 * A client of `multistream/*` written from the protocol alone (`docs/MULTISTREAM.md`), without our SDK: it watches every slot in
 * a video element, and keeps what it is told and what it presents.
 *
 * The functions here are handed to the browser as text, so they use nothing but what is inside them.
 */

import type { Browser, Page } from "playwright-core";
import { openPage } from "./browser.js";
import { until } from "./wait.js";

export type Status = { slot: number; stream: string; status: string; error?: string };
export type Message = { type: string; value?: unknown } & Record<string, unknown>;
export type Wish = { slot: number; stream: string; quality?: string };

/** What a slot presents. */
export type Shown = {
  /** Pictures presented so far. */
  count: number;
  /** Size of the last one. */
  width: number;
  height: number;
  /**
   * Frame numbers that were read in pictures of this width, in order; each once, as what is read when a frame is presented may
   * be the next one already.
   */
  codes: number[];
};

type Multi = {
  socket: WebSocket;
  connection: RTCPeerConnection | null;
  messages: Message[];
  shown: Shown[];
  negotiations: number;
  send(message: object): void;
};

declare global {
  interface Window {
    multi: Multi;
  }
}

/** How the client offers. */
export type Offer = {
  /** Audio sections, for the first so many slots. */
  audio: number;
  /** A data channel as well. */
  data: boolean;
  /** Media sections that would send, too. */
  direction: "recvonly" | "sendrecv";
};

/** A page with an open WebSocket on which nothing has been said. */
export async function open(browser: Browser, root: string): Promise<Client> {
  const page = await openPage(browser, new URL("healthz", root).href);
  const client = new Client(page, root);
  await client.connect();
  return client;
}

function connect(url: string): Promise<void> {
  const socket = new WebSocket(url);
  // What was there before the WebSocket was lost goes on.
  const before = window.multi as Multi | undefined;
  const multi: Multi = {
    socket,
    connection: before?.connection ?? null,
    messages: [],
    shown: before?.shown ?? [],
    negotiations: before?.negotiations ?? 0,
    send(message) {
      socket.send(JSON.stringify(message));
    },
  };
  window.multi = multi;
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message & { sdp?: string };
    multi.messages.push(message);
    const answer = message.type === "multistream/answer" ? message.sdp : undefined;
    if (answer !== undefined) void multi.connection?.setRemoteDescription({ type: "answer", sdp: answer });
  });
  return new Promise((done, failed) => {
    socket.addEventListener("open", () => {
      done();
    });
    socket.addEventListener("close", ({ code }) => {
      failed(new Error(`the WebSocket was closed: ${String(code)}`));
    });
  });
}

async function negotiate({ slots, audio, data, direction }: Offer & { slots: number }): Promise<void> {
  const { multi } = window;
  const connection = new RTCPeerConnection();
  multi.connection = connection;
  document.body.replaceChildren();
  document.body.style.cssText = "display: grid; grid-template-columns: repeat(3, 250px); margin: 0";
  const follow = (video: HTMLVideoElement, shown: Shown): void => {
    video.requestVideoFrameCallback((_, { width, height }) => {
      if (shown.width !== width) shown.codes = [];
      Object.assign(shown, { count: shown.count + 1, width, height });
      const code = window.probe.read(video);
      if (code !== null && code !== shown.codes.at(-1)) shown.codes.push(code);
      follow(video, shown);
    });
  };
  for (let slot = 0; slot < slots; slot++) {
    const { receiver } = connection.addTransceiver("video", { direction });
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream([receiver.track]) });
    video.style.cssText = "width: 250px; height: 140px";
    document.body.append(video);
    const shown: Shown = { count: 0, width: 0, height: 0, codes: [] };
    multi.shown[slot] = shown;
    follow(video, shown);
    if (slot < audio) connection.addTransceiver("audio", { direction });
  }
  if (data) connection.createDataChannel("own");
  await connection.setLocalDescription();
  connection.addEventListener("negotiationneeded", () => {
    multi.negotiations += 1;
  });
  multi.send({ type: "multistream/offer", request_id: "offer", sdp: connection.localDescription?.sdp });
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (candidate !== null) multi.send({ type: "multistream/ice", candidate: candidate.candidate });
  });
}

export class Client {
  constructor(
    readonly page: Page,
    readonly root: string,
  ) {}

  /** A new WebSocket; what the old one told is forgotten. */
  async connect(): Promise<void> {
    const url = new URL("api/ws", this.root);
    url.protocol = "ws:";
    await this.page.evaluate(connect, url.href);
  }

  /** Loses the WebSocket, and nothing else. */
  async disconnect(): Promise<void> {
    await this.page.evaluate(() => {
      window.multi.socket.close();
    });
  }

  async send(message: object): Promise<void> {
    await this.page.evaluate((message) => {
      window.multi.send(message);
    }, message);
  }

  async messages(type: string): Promise<Message[]> {
    const all = await this.page.evaluate(() => window.multi.messages);
    return all.filter((message) => message.type === type);
  }

  async told(type: string): Promise<Message> {
    return until(type, async () => (await this.messages(type))[0]);
  }

  /** Says `init`; the `ready` that follows. */
  async init(slots: Wish[], session?: string): Promise<{ session: string; resumed: boolean; slots: number }> {
    await this.send({ type: "multistream/init", request_id: "init", slots, session });
    const ready = await this.told("multistream/ready");
    return ready as unknown as { session: string; resumed: boolean; slots: number };
  }

  /** Offers so many slots; the slots of the answer, once the connection is up. */
  async offer(slots: number, offer: Partial<Offer> = {}): Promise<Status[]> {
    await this.page.evaluate(negotiate, { slots, audio: 0, data: false, direction: "recvonly" as const, ...offer });
    const answer = await this.told("multistream/answer");
    await until("the connection", () =>
      this.page.evaluate(() => window.multi.connection?.connectionState === "connected"),
    );
    return answer["slots"] as Status[];
  }

  /** Waits until the newest status of a slot is this one. */
  async status(slot: number, stream: string, status: string, ms?: number): Promise<Status> {
    return until(
      `slot ${String(slot)}: ${stream} is ${status}`,
      async () => {
        const all = (await this.messages("multistream/status")).map((message) => message["status"] as Status);
        const last = all.findLast((entry) => entry.slot === slot);
        return last?.stream === stream && last.status === status && last;
      },
      ms,
    );
  }

  async shown(slot: number): Promise<Shown> {
    return this.page.evaluate((slot) => {
      const shown = window.multi.shown[slot];
      if (shown === undefined) throw new Error(`no slot ${String(slot)}`);
      return shown;
    }, slot);
  }

  /** Waits until a slot presents pictures of this width whose numbers grow, `count` new ones. */
  async presents(slot: number, width: number, count = 3): Promise<void> {
    const codes = async (): Promise<number[]> => {
      const shown = await this.shown(slot);
      return shown.width === width ? shown.codes : [];
    };
    const from = (await codes()).length;
    const seen = await until(`slot ${String(slot)} presents the width ${String(width)}`, async () => {
      const now = await codes();
      return now.length >= count && now.length !== from && now.slice(-count);
    });
    if (seen.some((code, n) => n > 0 && code <= (seen[n - 1] ?? 0))) {
      throw new Error(`slot ${String(slot)} goes back in time: ${seen.join(" ")}`);
    }
  }

  /** Waits for so many further pictures of the same size in a slot. */
  async goesOn(slot: number, count: number): Promise<void> {
    const from = (await this.shown(slot)).codes.length;
    await until(`${String(count)} more pictures in slot ${String(slot)}`, async () => (await this.shown(slot)).codes.length >= from + count);
  }

  /** What must not change when slots do. */
  async connection(): Promise<{ state: string; negotiations: number; connections: number; sdp: string }> {
    return this.page.evaluate(() => ({
      state: window.multi.connection?.signalingState ?? "",
      negotiations: window.multi.negotiations,
      connections: window.probe.connections.length,
      sdp: window.multi.connection?.remoteDescription?.sdp ?? "",
    }));
  }

  /** Bytes received of one kind, by number of the section of that kind. */
  async bytes(kind: "video" | "audio"): Promise<number[]> {
    return this.page.evaluate(async (kind) => {
      const connection = window.multi.connection;
      const transceivers = connection?.getTransceivers().filter(({ receiver }) => receiver.track.kind === kind) ?? [];
      const report = await connection?.getStats();
      type Entry = { type: string; mid: string; bytesReceived: number };
      const entries = [...((report as unknown as Map<string, Entry> | undefined)?.values() ?? [])];
      return transceivers.map(({ mid }) =>
        entries
          .filter((entry) => entry.type === "inbound-rtp" && entry.mid === mid)
          .reduce((sum, entry) => sum + entry.bytesReceived, 0),
      );
    }, kind);
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}
