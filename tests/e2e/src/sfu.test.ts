/** A page that was written for a small SFU, as its clients are: one peer connection, tracks added first, every offer answered. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { FAKE_DEVICES } from "./support/room.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const KEY = "a-secret-of-enough-length";

type Client = { chat: Record<string, unknown>[]; offers: number; socket: WebSocket };
declare global {
  interface Window {
    sfu?: Client;
  }
}

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start(`auth: {admin_secrets: [${KEY}]}\ncompat: {sfu: true}\n`);
  ({ browser } = await launch(FAKE_DEVICES));
});

async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  const headers = { "content-type": "application/json", "x-api-key": KEY };
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
  const response = await fetch(new URL(path, server.url), init);
  assert.ok(response.ok, `${method} ${path}: ${String(response.status)}`);
  return (await response.json()) as T;
}

/** Joins as that page does. */
async function join(user: string, sends: boolean): Promise<Page> {
  const body = { user_id: user, email: `${user}@example.org`, room: "standup", user_type: "participant" };
  const { token } = await ask<{ token: string }>("POST", "api/v1/tokens", body);
  const page = await openPage(browser, new URL("rooms", server.url).href, ["camera", "microphone"]);
  await page.evaluate(
    async ({ token, sends }) => {
      document.body.replaceChildren();
      const peer = new RTCPeerConnection();
      peer.ontrack = ({ track, streams }) => {
        if (track.kind === "audio") return;
        const video = document.createElement("video");
        video.muted = true;
        video.autoplay = true;
        video.srcObject = streams[0] ?? new MediaStream([track]);
        document.body.append(video);
        streams[0]?.addEventListener("removetrack", () => {
          video.remove();
        });
      };
      if (sends) {
        const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
        for (const track of stream.getTracks()) peer.addTrack(track, stream);
      }
      const url = new URL(`ws?room=standup&token=${token}`, location.href);
      url.protocol = "ws:";
      const socket = new WebSocket(url);
      const client: Client = { chat: [], offers: 0, socket };
      window.sfu = client;
      peer.onicecandidate = ({ candidate }) => {
        if (candidate) socket.send(JSON.stringify({ event: "candidate", data: JSON.stringify(candidate) }));
      };
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data as string) as { event: string; data: string };
        const content = JSON.parse(message.data) as Record<string, unknown>;
        const answer = async (): Promise<void> => {
          client.offers += 1;
          await peer.setRemoteDescription(content as unknown as RTCSessionDescriptionInit);
          await peer.setLocalDescription(await peer.createAnswer());
          socket.send(JSON.stringify({ event: "answer", data: JSON.stringify(peer.localDescription) }));
        };
        if (message.event === "offer") void answer();
        if (message.event === "candidate") void peer.addIceCandidate(content);
        if (message.event === "chat") client.chat.push(content);
      };
    },
    { token, sends },
  );
  return page;
}

/** Pictures that play. */
function pictures(page: Page): Promise<number> {
  return page.evaluate(() => {
    const videos = [...document.querySelectorAll("video")];
    return videos.filter((video) => video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 10).length;
  });
}

test("pages of a small SFU meet, see each other, chat and leave", async () => {
  await ask("POST", "api/v1/rooms", { name: "standup", max_participants: 5 });
  const ann = await join("ann", true);
  const ben = await join("ben", true);
  const listener = await join("cleo", false);
  await until("Ann sees Ben", async () => (await pictures(ann)) === 1);
  await until("Ben sees Ann", async () => (await pictures(ben)) === 1);
  await until("who sends nothing sees both", async () => (await pictures(listener)) === 2);
  await ben.evaluate(() => window.sfu?.socket.send(JSON.stringify({ event: "chat", data: JSON.stringify({ message: "hi" }) })));
  await until("Ann reads it", async () =>
    ann.evaluate(() => window.sfu?.chat.some((chat) => chat["user_id"] === "ben" && chat["message"] === "hi") === true),
  );
  await ann.context().close();
  await until("Ann is gone", async () => (await pictures(listener)) === 1);
  await Promise.all([ben, listener].map((page) => page.context().close()));
});
