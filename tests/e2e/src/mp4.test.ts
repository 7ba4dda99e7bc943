/** A bare video element that plays a stream as live MP4. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { FAKE_DEVICES } from "./support/room.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch(FAKE_DEVICES));
});

/** A page that plays nothing but this. */
async function play(id: string, source = "main"): Promise<Page> {
  const page = await openPage(browser, new URL("rooms", server.url).href);
  await page.evaluate((src) => {
    const video = document.createElement("video");
    video.id = "mp4";
    // Without a click a page plays only what is muted.
    video.muted = true;
    video.src = src;
    document.body.replaceChildren(video);
    void video.play();
  }, new URL(`api/streamers/${id}/streams/${source}.mp4`, server.url).href);
  return page;
}

function playing(page: Page): Promise<{ width: number; time: number; frames: number; error: string | null }> {
  return page.evaluate(() => {
    const video = document.querySelector<HTMLVideoElement>("#mp4");
    if (video === null) throw new Error("no video");
    return {
      width: video.videoWidth,
      time: video.currentTime,
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
      error: video.error?.message ?? null,
    };
  });
}

test("pictures and sound play on", async () => {
  await server.create("demo", { type: "test", width: 640, height: 360, fps: 25 });
  const page = await play("demo");
  await until("it plays", async () => {
    const { time, frames, error } = await playing(page);
    assert.equal(error, null);
    return time > 4 && frames > 50;
  }, 40_000);
  assert.equal((await playing(page)).width, 640);
  const peers = await server.peers("demo");
  assert.deepEqual(peers.map((peer) => (peer as { kind?: string }).kind), ["mp4"]);
  await page.context().close();
  await until("its reader is gone", async () => (await server.peers("demo")).length === 0);
});

test("what a page publishes as H.264 plays in another page", async () => {
  const source = { type: "test", width: 64, height: 64, fps: 1, audio: false };
  await server.json("POST", "api/streamers?wait=running", { id: "room", source, share: false, slots: 2 });
  const publisher = await openPage(browser, new URL("s/room", server.url).href, ["camera", "microphone"]);
  await publisher.waitForFunction(() => window.oriel?.client.state.kind === "connected", undefined, { timeout: 45_000 });
  await publisher.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
    const [camera, microphone] = [stream.getVideoTracks()[0], stream.getAudioTracks()[0]];
    const client = window.oriel?.client;
    if (client === undefined || camera === undefined || microphone === undefined) throw new Error("no devices");
    await client.publish("camera", camera, { name: "Ann" });
    await client.publish("microphone", microphone);
  });
  const page = await play("room", "ann");
  await until("it plays", async () => {
    const { time, frames, error } = await playing(page);
    assert.equal(error, null);
    return time > 3 && frames > 30;
  }, 40_000);
  // Chromium sends a smaller picture when it is short of processor time.
  assert.ok([640, 480, 320].includes((await playing(page)).width));
  await Promise.all([publisher, page].map((page) => page.context().close()));
});
