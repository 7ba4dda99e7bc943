/** Pages that publish their camera and microphone, and pages that see and hear them. */

import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { join as joinPath } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { inbound, launch, openPage } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const FAKE_DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const ROOM = "room";
/** Samples of a second that a program of the desktop records, mono. */
const RATE = 48_000;

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
  await page.waitForFunction(() => window.oriel?.client.state.kind === "connected", undefined, { timeout: 45_000 });
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

/** How loud the last two seconds are that were recorded: the largest sample; -1 while there are fewer. */
function loudness(file: string): number {
  const bytes = 2 * 2 * RATE;
  const size = existsSync(file) ? statSync(file).size : 0;
  if (size < bytes) return -1;
  const tail = Buffer.alloc(bytes);
  const fd = openSync(file, "r");
  readSync(fd, tail, 0, bytes, size - (size % 2) - bytes);
  closeSync(fd);
  return Math.max(...Array.from({ length: bytes / 2 }, (_, i) => Math.abs(tail.readInt16LE(2 * i))));
}

test("what a page hears by its microphone is recorded by a program of the desktop, while its button is on", async () => {
  const file = joinPath(server.dir, "recorded.raw");
  const command = `exec parec --format=s16le --rate=${String(RATE)} --channels=1 > ${file}`;
  await server.create("studio", { type: "desktop", width: 640, height: 360, fps: 5, command });
  await until("silence is recorded", () => loudness(file) === 0);
  const page = await openPage(browser, new URL("s/studio", server.url).href, ["microphone"]);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  const button = page.locator("[data-testid=tool-microphone]");
  await page.mouse.move(640, 2);
  assert.equal(await button.getAttribute("aria-pressed"), "false");
  await button.click();
  await until("the button says that programs hear it", async () =>
    /programs hear you/.test((await button.getAttribute("aria-label")) ?? ""),
  );
  await until("it is pressed", async () => (await button.getAttribute("aria-pressed")) === "true");
  await until("the browser's beeps are recorded", () => loudness(file) > 1000);

  await page.mouse.move(640, 2);
  await button.click();
  await until("silence is recorded again", () => loudness(file) === 0);
  await until("it is pressed no more", async () => (await button.getAttribute("aria-pressed")) === "false");

  await button.click();
  await until("it is heard again", () => loudness(file) > 1000);
  const { peers } = await server.json<{ peers: { id: string; session_microphone: boolean }[] }>(
    "GET",
    "api/streamers/studio/peers",
  );
  assert.deepEqual(peers.map((peer) => peer.session_microphone), [true]);
  await server.json("PATCH", `api/streamers/studio/peers/${peers[0]?.id ?? ""}`, { rights: [] });
  await page.waitForSelector("[data-testid=microphone-notice]");
  assert.match(await page.innerText("[data-testid=microphone-notice]"), /right to publish/);
  // The rights are told by another way.
  await until("the button cannot be used", () => button.isDisabled());
  await until("it says why", async () => /may not/.test((await button.getAttribute("aria-label")) ?? ""));
  await until("nothing is recorded any more", () => loudness(file) === 0);
  await page.context().close();
});

test("a page that may not have the microphone says so in words", async () => {
  const page = await openPage(browser, new URL("s/studio", server.url).href);
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
  });
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await page.mouse.move(640, 2);
  await page.click("[data-testid=tool-microphone]");
  await page.waitForSelector("[data-testid=microphone-notice]");
  assert.match(await page.innerText("[data-testid=microphone-notice]"), /does not allow this page the microphone/);
  await page.context().close();
});
