/** Pages that publish their camera and microphone, and pages that see and hear them. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { inbound, launch, openPage } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const FAKE_DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const ROOM = "room";

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch(FAKE_DEVICES));
  const source = { type: "test", width: 64, height: 64, fps: 1, audio: false };
  await server.json("POST", "api/streamers?wait=running", { id: ROOM, source, share: false, slots: 4 });
});

type Published = { source: string; slot: number | null };

/** A page that is connected. */
async function join(): Promise<Page> {
  const page = await openPage(browser, new URL(`s/${ROOM}`, server.url).href, ["camera", "microphone"]);
  await page.waitForFunction(() => window.oriel?.client.state.kind === "connected", undefined, { timeout: 20_000 });
  return page;
}

/** Publishes what the browser's fake devices give. */
async function publish(page: Page, name: string): Promise<Published> {
  return page.evaluate(async (name) => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
    const [camera, microphone] = [stream.getVideoTracks()[0], stream.getAudioTracks()[0]];
    const client = window.oriel?.client;
    if (client === undefined || camera === undefined || microphone === undefined) throw new Error("no devices");
    const published = await client.publish("camera", camera, { name });
    await client.publish("microphone", microphone, { name });
    return published;
  }, name);
}

/** What the page sees in its slots, and whether pictures come. */
async function sources(page: Page): Promise<(string | null)[]> {
  return page.evaluate(() =>
    [...(window.oriel?.client.slots.values() ?? [])].map(({ info, status }) =>
      status === "active" && info !== null ? info.source : null,
    ),
  );
}

async function flows(page: Page): Promise<void> {
  const before = await inbound(page, "video");
  const sound = await inbound(page, "audio");
  // Pages play no sound before they are clicked: that it comes is all that can be seen.
  await until("pictures are decoded and sound comes", async () => {
    const [video, audio] = [await inbound(page, "video"), await inbound(page, "audio")];
    return (
      video.framesDecoded > before.framesDecoded + 30 && audio.packetsReceived > sound.packetsReceived + 50
    );
  });
}

test("one page publishes, another sees and hears it, and so does one that comes late", async () => {
  const [publisher, watcher] = [await join(), await join()];
  const offers = await publisher.evaluate(() => window.oriel?.client.negotiation.offers);
  assert.deepEqual(await publish(publisher, "Ann"), { kind: "camera", source: "ann", slot: 0 });
  await until("the watcher sees it", async () => (await sources(watcher)).includes("ann"));
  await flows(watcher);
  const late = await join();
  await until("who comes late sees it", async () => (await sources(late)).includes("ann"));
  await flows(late);
  assert.equal(await publisher.evaluate(() => window.oriel?.client.negotiation.offers), offers, "no renegotiation");
  assert.ok(!(await sources(publisher)).includes("ann"), "it does not get its own picture");

  await publish(watcher, "Ben");
  await until("the first sees the second", async () => (await sources(publisher)).includes("ben"));
  await flows(publisher);

  await publisher.evaluate(() => window.oriel?.client.unpublish("camera"));
  await publisher.evaluate(() => window.oriel?.client.unpublish("microphone"));
  await until("the slot is free at once", async () => !(await sources(late)).includes("ann"));
  await Promise.all([publisher, watcher, late].map((page) => page.context().close()));
});

test("the slot of a page that is closed is free for another", async () => {
  const [publisher, watcher] = [await join(), await join()];
  const first = await publish(publisher, "Cid");
  await until("it is seen", async () => (await sources(watcher)).includes("cid"));
  await publisher.context().close();
  await until("it is gone", async () => !(await sources(watcher)).includes("cid"));
  const second = await publish(await join(), "Dan");
  assert.equal(second.slot, first.slot);
  await until("the other one is seen", async () => (await sources(watcher)).includes("dan"));
});
