/** Pictures and sound: pages, and players that speak WHEP. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { advancing, inbound, launch, openPage, watch } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  await server.create("test", { type: "test", width: 640, height: 360, fps: 30, audio: true });
  ({ browser } = await launch());
});

test("two pages present the same stream, and its frames advance in both", async () => {
  const pages = [await watch(browser, server.url, "test"), await watch(browser, server.url, "test")];
  const seen = await Promise.all(pages.map((page) => advancing(page, 30)));
  // Both saw the same source at the same time, not each its own.
  const [a, b] = seen.map((codes) => ({ first: codes[0] ?? 0, last: codes.at(-1) ?? 0 }));
  assert.ok(a !== undefined && b !== undefined);
  assert.ok(a.first <= b.last && b.first <= a.last, `${JSON.stringify(a)} ${JSON.stringify(b)} overlap`);
  for (const { first, last } of [a, b]) assert.ok(last - first >= 29);
  await until("both are listed as connected", async () =>
    (await server.peers("test")).map(({ state }) => state).join() === "connected,connected",
  );
  await Promise.all(pages.map((page) => page.context().close()));
  await until("both have left", async () => (await server.peers("test")).length === 0);
});

test("sound arrives, and is heard after a click", async () => {
  const page = await watch(browser, server.url, "test");
  const muted = (): Promise<boolean> =>
    page.evaluate(() => document.querySelector<HTMLVideoElement>("[data-testid=video]")?.muted ?? true);
  assert.equal(await muted(), true, "silent until somebody wants it");
  // The picture fills the page.
  await page.hover("[data-testid=toolbar-handle]");
  await page.click("[data-testid=tool-sound]");
  await until("not muted", async () => !(await muted()));
  const before = await inbound(page, "audio");
  await until("audible sound", async () => {
    const now = await inbound(page, "audio");
    return (
      now.packetsReceived >= before.packetsReceived + 50 && now.totalAudioEnergy > before.totalAudioEnergy + 1e-6
    );
  });
  await page.context().close();
});

test("a WHEP player gets frames, and leaves by DELETE", async () => {
  const page = await openPage(browser, server.url);
  const location = await playByWhep(page, new URL("api/streamers/test/whep", server.url).href);
  await advancing(page, 20);
  await until("sound as well", async () => (await inbound(page, "audio")).packetsReceived > 20);
  assert.deepEqual((await server.peers("test")).map(({ kind }) => kind), ["whep"]);
  const left = await server.request("DELETE", location);
  assert.ok(left.ok, `DELETE: ${String(left.status)}`);
  await until("no peer any more", async () => (await server.peers("test")).length === 0);
  await page.context().close();
});

/** What the simplest of players does. Returns the address of its session. */
async function playByWhep(page: Page, url: string): Promise<string> {
  return page.evaluate(async (url) => {
    const connection = new RTCPeerConnection();
    const stream = new MediaStream();
    for (const kind of ["video", "audio"]) {
      stream.addTrack(connection.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
    }
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, srcObject: stream });
    // Above what else is on the page: what nobody can see is not presented.
    video.style.cssText = "position: fixed; inset: 0; width: 640px; height: 360px; z-index: 9";
    document.body.append(video);
    await connection.setLocalDescription();
    await new Promise<void>((done) => {
      const check = (): void => {
        if (connection.iceGatheringState === "complete") done();
      };
      connection.addEventListener("icegatheringstatechange", check);
      check();
    });
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: connection.localDescription?.sdp ?? "",
    });
    if (response.status !== 201) throw new Error(`WHEP: ${String(response.status)} ${await response.text()}`);
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
    return response.headers.get("location") ?? "";
  }, url);
}
