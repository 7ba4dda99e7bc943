/**
 * A viewer written from the protocol alone (`docs/API.md`), without our SDK: it watches every slot of a streamer in a
 * video element each, and keeps what it is told and what it presents.
 *
 * The functions here are handed to the browser as text, so they use nothing but what is inside them.
 */

import type { Browser, Page } from "playwright-core";
import { openPage } from "./browser.js";
import { until } from "./wait.js";

/** A message of the signalling. */
export type Message = { type: string } & Record<string, unknown>;

/** What a slot presents. */
export type Shown = {
  /** Pictures presented so far. */
  count: number;
  /** Size of the last one. */
  width: number;
  height: number;
  /** `performance.now()` when each picture size was first presented again after another one. */
  changes: { width: number; at: number }[];
};

type Native = {
  messages: (Message & { at: number })[];
  offers: number;
  /** Offers that came while an earlier one was not answered. */
  early: number;
  shown: Shown[];
  connection: RTCPeerConnection;
  send(message: object): number;
};

declare global {
  interface Window {
    native: Native;
  }
}

/** Joins in a page of its own; resolves when the connection is up. */
export async function joinSlots(
  browser: Browser,
  root: string,
  id: string,
  capabilities: object = {},
  /** Takes video of this codec alone, as in `"video/H264"`. */
  only: string | null = null,
): Promise<Viewer> {
  const page = await openPage(browser, new URL("healthz", root).href);
  const url = new URL(`api/streamers/${id}/peer`, root);
  url.protocol = "ws:";
  await page.evaluate(connect, { url: url.href, capabilities, only });
  const viewer = new Viewer(page);
  await until("the connection", () => page.evaluate(() => window.native.connection.connectionState === "connected"));
  return viewer;
}

function connect({ url, capabilities, only }: { url: string; capabilities: object; only: string | null }): void {
  const connection = new RTCPeerConnection();
  let open = false;
  const socket = new WebSocket(url, "oriel.v1");
  const native: Native = {
    messages: [],
    offers: 0,
    early: 0,
    shown: [],
    connection,
    send(message) {
      socket.send(JSON.stringify(message));
      return performance.now();
    },
  };
  window.native = native;
  const slotOf = ({ mid }: RTCRtpTransceiver): number => {
    const section = (connection.remoteDescription?.sdp ?? "").split("m=").find((part) => part.includes(`a=mid:${mid ?? ""}\r\n`));
    return Number(/a=msid:slot(\d+) /.exec(section ?? "")?.[1]);
  };
  document.body.style.cssText = "display: grid; grid-template-columns: repeat(3, 250px); margin: 0";
  const follow = (video: HTMLVideoElement, shown: Shown): void => {
    video.requestVideoFrameCallback((_, { width, height, presentationTime }) => {
      if (shown.width !== width) shown.changes.push({ width, at: presentationTime });
      Object.assign(shown, { count: shown.count + 1, width, height });
      follow(video, shown);
    });
  };
  connection.addEventListener("track", ({ track, transceiver }) => {
    if (track.kind !== "video") return;
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream([track]) });
    video.style.cssText = "width: 250px; height: 140px";
    document.body.append(video);
    const shown: Shown = { count: 0, width: 0, height: 0, changes: [] };
    // The track's id names the slot; so do the mids of a client with pre-allocated slots.
    native.shown[slotOf(transceiver)] = shown;
    follow(video, shown);
  });
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (candidate !== null) native.send({ type: "candidate", ...candidate.toJSON() });
  });
  for (const [id, label] of [
    [0, "keys"],
    [1, "motion"],
    [2, "general"],
  ] as const) {
    connection.createDataChannel(label, { negotiated: true, id });
  }
  socket.addEventListener("open", () => native.send({ type: "hello", capabilities }));
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message & { sdp?: string };
    native.messages.push({ ...message, at: performance.now() });
    if (message.type !== "offer") return;
    native.offers += 1;
    if (open) native.early += 1;
    open = true;
    void (async () => {
      await connection.setRemoteDescription({ type: "offer", sdp: message.sdp ?? "" });
      const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
      const taken = codecs.filter(({ mimeType }) => mimeType === only || mimeType === "video/rtx");
      for (const transceiver of connection.getTransceivers()) {
        if (only !== null && transceiver.receiver.track.kind === "video") transceiver.setCodecPreferences(taken);
      }
      await connection.setLocalDescription();
      open = false;
      native.send({ type: "answer", sdp: connection.localDescription?.sdp ?? "" });
    })();
  });
}

export class Viewer {
  constructor(readonly page: Page) {}

  async send(message: object): Promise<number> {
    return this.page.evaluate((message) => window.native.send(message), message);
  }

  async messages(type?: string): Promise<(Message & { at: number })[]> {
    const all = await this.page.evaluate(() => window.native.messages);
    return type === undefined ? all : all.filter((message) => message.type === type);
  }

  /** Waits for a message. */
  async told(what: string, matches: (message: Message) => boolean): Promise<Message & { at: number }> {
    return until(what, async () => (await this.messages()).find(matches));
  }

  async shown(slot: number): Promise<Shown> {
    return this.page.evaluate((slot) => window.native.shown[slot] ?? { count: 0, width: 0, height: 0, changes: [] }, slot);
  }

  /** Waits until a slot presents pictures of this width, `count` new ones. */
  async presents(slot: number, width: number, count = 3): Promise<Shown> {
    let from: number | null = null;
    return until(`${String(count)} pictures of width ${String(width)} in slot ${String(slot)}`, async () => {
      const now = await this.shown(slot);
      if (now.width !== width) {
        from = null;
        return undefined;
      }
      from ??= now.count;
      return now.count >= from + count ? now : undefined;
    });
  }

  /** The connection as the application sees it: what must not change when slots do. */
  async negotiation(): Promise<{ state: string; offers: number; sdp: string }> {
    return this.page.evaluate(() => ({
      state: window.native.connection.signalingState,
      offers: window.native.offers,
      sdp: window.native.connection.remoteDescription?.sdp ?? "",
    }));
  }

  /** Codec of what a slot receives now, as in `"video/VP8"`. */
  async codec(slot: number): Promise<string | undefined> {
    return this.page.evaluate(async (mid) => {
      type Entry = { id: string; type: string; kind: string; mid: string; codecId: string; mimeType: string };
      const report = (await window.native.connection.getStats()) as unknown as Map<string, Entry>;
      const inbound = [...report.values()].find((entry) => entry.type === "inbound-rtp" && entry.kind === "video" && entry.mid === mid);
      return report.get(inbound?.codecId ?? "")?.mimeType;
    }, String(2 * slot));
  }

  /** Bytes of video received in a slot. */
  async bytes(slot: number): Promise<number> {
    return this.page.evaluate(async (mid) => {
      const report = await window.native.connection.getStats();
      const entries = [...(report as unknown as Map<string, { type: string; kind: string; mid: string; bytesReceived: number }>).values()];
      const inbound = entries.filter((entry) => entry.type === "inbound-rtp" && entry.kind === "video" && entry.mid === mid);
      return inbound.reduce((sum, entry) => sum + entry.bytesReceived, 0);
    }, String(2 * slot));
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}
