/** Slots: what is shown changes in an instant, and the connection knows nothing of it. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./support/browser.js";
import { cleanUp } from "./support/cleanup.js";
import { joinSlots, type Viewer } from "./support/native.js";
import { fileWith, Server } from "./support/server.js";
import { unchanged, until } from "./support/wait.js";

/** Streams and the widths that tell them apart. */
const WIDTHS: Readonly<Record<string, number>> = { a: 160, b: 176, c: 192, d: 208, e: 224 };

let server: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  ({ browser } = await launch());
});

async function streamer(id: string, fps = 15): Promise<void> {
  const source = (width: number): object => ({ type: "test", width, height: 96, fps });
  const sources = Object.fromEntries(Object.entries(WIDTHS).map(([name, width]) => [name, source(width)]));
  await server.json("POST", "api/streamers?wait=running", { id, sources });
}

async function put(id: string, slot: number, source: string): Promise<void> {
  await server.json("PUT", `api/streamers/${id}/slots/${String(slot)}`, { source });
}

function width(stream: string): number {
  return WIDTHS[stream] ?? 0;
}

test("streams appear and vanish in a page that is already connected, without any negotiation", async () => {
  await streamer("share");
  const page = await joinSlots(browser, server.url, "share");
  const before = await page.negotiation();
  assert.deepEqual([before.state, before.offers], ["stable", 1]);
  assert.deepEqual((await page.messages("streams-info")).map(({ streams }) => streams), [[]], "nothing is shared yet");

  for (const [slot, name] of ["a", "b", "c", "d"].entries()) {
    const info = await server.json<{ slot: number; source: string; width: number }>(
      "POST",
      "api/streamers/share/slots",
      { source: name },
    );
    assert.deepEqual([info.slot, info.source, info.width], [slot, name, width(name)]);
    await page.presents(slot, width(name));
  }
  const refused = await server.request("POST", "api/streamers/share/slots", { source: "e" });
  const problem = (await refused.json()) as { code: string; detail: string };
  assert.deepEqual([refused.status, problem.code], [409, "no_free_slot"]);
  assert.match(problem.detail, /all 4 slots/);

  const late = await joinSlots(browser, server.url, "share");
  const [info] = await late.messages("streams-info");
  assert.deepEqual((info?.["streams"] as { source: string }[]).map(({ source }) => source), ["a", "b", "c", "d"]);
  for (const [slot, name] of ["a", "b", "c", "d"].entries()) await late.presents(slot, width(name));

  await server.json("DELETE", "api/streamers/share/slots/1");
  await page.told("that slot 1 is free", ({ type, trackId }) => type === "stream-deactivated" && trackId === "video1");
  await page.told("its state", ({ type, slot, status }) => type === "slot-status" && slot === 1 && status === "inactive");
  await unchanged("nothing is sent in a slot that shows nothing", () => page.bytes(1), () => page.presents(0, width("a"), 10));

  await put("share", 1, "e");
  await Promise.all([page.presents(1, width("e")), late.presents(1, width("e"))]);
  for (const viewer of [page, late]) {
    const { state, offers } = await viewer.negotiation();
    assert.deepEqual([state, offers], ["stable", 1]);
  }
  assert.equal((await page.negotiation()).sdp, before.sdp);
  await Promise.all([page.close(), late.close()]);
});

test("a peer chooses for itself what a slot shows, and is told when that cannot be", async () => {
  await streamer("choose");
  await put("choose", 0, "a");
  const [page, other] = [await joinSlots(browser, server.url, "choose"), await joinSlots(browser, server.url, "choose")];
  await Promise.all([page.presents(0, width("a")), other.presents(0, width("a"))]);

  await page.send({ type: "switch", slot: 0, stream: "b", requestId: "one" });
  const status = await page.told("the answer", ({ requestId, status }) => requestId === "one" && status === "active");
  assert.deepEqual([status["stream"], status["quality"]], ["b", ""]);
  await page.presents(0, width("b"));
  await other.presents(0, width("a"));

  await page.send({ type: "switch", slot: 0, stream: "nothing", requestId: "two" });
  const missing = await page.told("a refusal", ({ requestId }) => requestId === "two");
  assert.deepEqual([missing.type, missing["status"], missing["error"]], ["slot-status", "error", "stream_not_found"]);
  await page.send({ type: "switch", slot: 9, stream: "a", requestId: "three" });
  const outside = await page.told("another", ({ requestId }) => requestId === "three");
  assert.deepEqual([outside.type, outside["code"]], ["error", "slot_not_found"]);
  await page.presents(0, width("b"), 5);

  // What everybody sees there changes; this peer has chosen otherwise, until it follows again.
  await put("choose", 0, "c");
  await other.presents(0, width("c"));
  await page.presents(0, width("b"));
  await page.send({ type: "switch", slot: 0, stream: "" });
  await page.presents(0, width("c"));

  await page.send({ type: "pause", slot: 0 });
  await page.told("the pause", ({ slot, status }) => slot === 0 && status === "paused");
  await unchanged("nothing is sent in a paused slot", () => page.bytes(0), () => other.presents(0, width("c"), 10));
  await page.send({ type: "resume", slot: 0 });
  await page.presents(0, width("c"));
  assert.deepEqual([(await page.negotiation()).offers, (await other.negotiation()).offers], [1, 1]);
  await Promise.all([page.close(), other.close()]);
});

test("a slot goes from H.264 to VP8 and back, and the connection knows nothing of it", async () => {
  const test = (width: number): object => ({ type: "test", width, height: 96, fps: 15, audio: false });
  const vp8 = { type: "ffmpeg", input: "b", video: "vp8", bitrate_kbps: 800, audio: false };
  await server.json("POST", "api/streamers?wait=running", { id: "codecs", sources: { a: test(160), b: test(176), v: vp8 } });
  await put("codecs", 0, "a");
  const page = await joinSlots(browser, server.url, "codecs");
  const old = await joinSlots(browser, server.url, "codecs", {}, "video/H264");
  const before = await page.negotiation();
  // Both have started once, so that what is seen below is a switch and not the start of an ffmpeg.
  await put("codecs", 1, "v");
  await page.presents(1, width("b"));
  for (let round = 0; round < 3; round++) {
    await Promise.all([page.presents(0, width("a")), old.presents(0, width("a"))]);
    assert.equal(await until("its codec", () => page.codec(0)), "video/H264");
    await put("codecs", 0, "v");
    await page.presents(0, width("b"), 10);
    await until("it is VP8", async () => (await page.codec(0)) === "video/VP8");
    const refused = await old.told("that it cannot be decoded", ({ type, slot, status }) => type === "slot-status" && slot === 0 && status === "error");
    assert.deepEqual([refused["stream"], refused["error"]], ["v", "codec_unsupported"]);
    await put("codecs", 0, "a");
  }
  await Promise.all([page.presents(0, width("a")), old.presents(0, width("a"))]);
  const { state, offers, sdp } = await page.negotiation();
  assert.deepEqual([state, offers, sdp === before.sdp], ["stable", 1, true]);
  // It is told by another way than the pictures come.
  await until("it is told that it is shown", async () =>
    (await old.messages("slot-status")).findLast(({ slot }) => slot === 0)?.["status"] === "active",
  );
  // A picture of it for those who have no connection.
  const snapshot = await server.request("GET", "api/streamers/codecs/snapshot?slot=1&format=png");
  const png = Buffer.from(await snapshot.arrayBuffer());
  assert.deepEqual([snapshot.status, png.readUInt32BE(16), png.readUInt32BE(20)], [200, width("b"), 96]);
  const { sources } = await server.json<{ sources: { name: string; codec: string }[] }>("GET", "api/streamers/codecs/sources");
  assert.deepEqual(sources.map(({ name, codec }) => [name, codec]), [["a", "H264"], ["b", "H264"], ["v", "VP8"]]);
  await Promise.all([page.close(), old.close()]);
});

test("four windows are shared one after another, and each gets what is typed into its slot", async () => {
  const dir = mkdtempSync(join(tmpdir(), "oriel-windows-"));
  cleanUp(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  // Of different sizes, all at one place: three of them are covered.
  const terminals = [0, 1, 2, 3].map(
    (n) => `xterm -T window${String(n)} -geometry ${String(30 + 4 * n)}x10+20+20 -e sh -c 'stty -echo; exec cat > ${dir}/${String(n)}' &`,
  );
  // Windows that are there before openbox has begun are lost to it.
  writeFileSync(join(dir, "start"), terminals.join("\n"));
  const command = ["openbox", "--startup", `sh ${join(dir, "start")}`];
  await server.json("POST", "api/streamers?wait=running", {
    id: "windows",
    share: false,
    source: { type: "desktop", width: 800, height: 600, audio: false, command },
  });
  const page = await joinSlots(browser, server.url, "windows");
  type Window = { id: number; title: string; width: number };
  const windows = await until("four windows", async () => {
    const { windows } = await server.json<{ windows: Window[] }>("GET", "api/streamers/windows/windows");
    const ours = windows.filter(({ title }) => /^window[0-3]$/.test(title)).sort((a, b) => a.title.localeCompare(b.title));
    return ours.length === 4 ? ours : undefined;
  });
  const even = (width: number): number => width - (width % 2);
  for (const [slot, { id, width, title }] of windows.entries()) {
    const info = await server.json<{ slot: number; windowName: string; input: boolean }>(
      "POST",
      "api/streamers/windows/slots",
      { source: { type: "window", window_id: id } },
    );
    assert.deepEqual([info.slot, info.windowName, info.input], [slot, title, true]);
    // It stands still: there may be no other picture after the first.
    await page.presents(slot, even(width), 0);
  }
  const again = await server.request("PUT", "api/streamers/windows/slots/1", { source: { type: "window", window_id: windows[0]?.id } });
  assert.deepEqual([again.status, ((await again.json()) as { code: string }).code], [409, "already_shared"]);
  const none = await server.request("PUT", "api/streamers/windows/slots/0", { source: { type: "window", window_id: 1 } });
  assert.deepEqual([none.status, ((await none.json()) as { code: string }).code], [404, "window_not_found"]);
  await page.presents(0, even(windows[0]?.width ?? 0), 0);

  // In turn, letter by letter: each window gets exactly its own.
  for (const letter of ["a", "b", "c"]) {
    for (let slot = 0; slot < 4; slot++) {
      const events = [{ type: "text", text: `${letter}${String(slot)}\n` }];
      await server.json("POST", "api/streamers/windows/input", { slot, events });
    }
  }
  for (let slot = 0; slot < 4; slot++) {
    const n = String(slot);
    await fileWith(join(dir, n), new RegExp(`^a${n}\nb${n}\nc${n}\n$`));
  }

  // A window that is closed leaves its slot, and says why.
  await server.json("POST", "api/streamers/windows/input", { slot: 2, events: [{ type: "chord", codes: ["ControlLeft", "KeyD"] }] });
  const left = await page.told("the end of slot 2", ({ type, trackId }) => type === "stream-deactivated" && trackId === "video2");
  assert.match(String(left["reason"]), /window/);
  const { state, offers } = await page.negotiation();
  assert.deepEqual([state, offers], ["stable", 1]);
  await page.close();
  await server.delete("windows");
});

test("an older client, which cannot keep slots, follows by offers for what is there", async () => {
  await streamer("older");
  await put("older", 0, "a");
  const page = await joinSlots(browser, server.url, "older", { preallocatedSlots: false });
  const tracks = async (): Promise<number> =>
    (await page.negotiation()).sdp.split("m=video").filter((section) => section.includes("a=sendonly")).length;
  await page.presents(0, width("a"));
  assert.deepEqual([(await page.negotiation()).offers, await tracks()], [1, 1]);

  // Another picture in the same track is no reason for an offer.
  await put("older", 0, "b");
  await page.presents(0, width("b"));
  assert.equal((await page.negotiation()).offers, 1);

  await put("older", 2, "c");
  await page.presents(2, width("c"));
  await page.presents(0, width("b"));
  assert.deepEqual([(await page.negotiation()).offers, await tracks()], [2, 2]);

  await server.json("DELETE", "api/streamers/older/slots/0");
  await until("an offer without it", async () => (await tracks()) === 1);
  await page.presents(2, width("c"), 10);

  // Many changes at once: never an offer while another is open, and what is there in the end is shown.
  for (const name of ["d", "e", "a"]) {
    await Promise.all([put("older", 0, name), put("older", 1, name), put("older", 3, name)]);
    await Promise.all([0, 1, 3].map((slot) => server.json("DELETE", `api/streamers/older/slots/${String(slot)}`)));
  }
  await put("older", 0, "e");
  await page.presents(0, width("e"));
  await page.presents(2, width("c"));
  assert.equal(await page.page.evaluate(() => window.native.early), 0, "an offer came before the last one was answered");
  // The last offer may come after the pictures of what it keeps.
  await until("the tracks of what is there", async () => (await page.negotiation()).state === "stable" && (await tracks()) === 2);
  await page.close();
});

test("after 200 random steps every slot shows what it should, and nothing has leaked", async () => {
  await streamer("random", 10);
  const viewers = [await joinSlots(browser, server.url, "random"), await joinSlots(browser, server.url, "random")];
  const names = Object.keys(WIDTHS);
  const shared: (string | null)[] = [null, null, null, null];
  const chosen = viewers.map(() => [...shared]);
  const paused = viewers.map(() => shared.map(() => false));
  const choice = random(20_261_120);
  const pick = <T>(from: readonly T[]): T => from[choice(from.length)] as T;
  const resources = async (): Promise<{ threads: number; descriptors: number; rss_bytes: number }> => {
    const { stats } = await server.json<{ stats: { process: { threads: number; descriptors: number; rss_bytes: number } } }>(
      "GET",
      "api/streamers/random",
    );
    return stats.process;
  };
  // Everything has been started once.
  for (const [slot, name] of names.slice(0, 4).entries()) await put("random", slot, name);
  await Promise.all(viewers.map((viewer) => viewer.presents(3, width("d"))));
  names.slice(0, 4).forEach((name, slot) => (shared[slot] = name));
  const before = await resources();

  for (let step = 0; step < 200; step++) {
    const slot = choice(4);
    const who = choice(viewers.length);
    const viewer = viewers[who] as Viewer;
    const [mine, still] = [chosen[who] ?? [], paused[who] ?? []];
    switch (choice(6)) {
      case 0:
      case 1:
        shared[slot] = pick(names);
        await put("random", slot, shared[slot]);
        break;
      case 2:
        shared[slot] = null;
        await server.json("DELETE", `api/streamers/random/slots/${String(slot)}`);
        break;
      case 3:
        mine[slot] = pick(names);
        await viewer.send({ type: "switch", slot, stream: mine[slot] });
        break;
      case 4:
        mine[slot] = null;
        await viewer.send({ type: "switch", slot, stream: "" });
        break;
      default:
        still[slot] = !(still[slot] ?? false);
        await viewer.send({ type: still[slot] ? "pause" : "resume", slot });
    }
  }
  for (const [who, viewer] of viewers.entries()) {
    for (let slot = 0; slot < 4; slot++) {
      if (paused[who]?.[slot] === true) await viewer.send({ type: "resume", slot });
      const expected = chosen[who]?.[slot] ?? shared[slot] ?? null;
      if (expected !== null) {
        await viewer.presents(slot, width(expected));
        continue;
      }
      await until(`slot ${String(slot)} of viewer ${String(who)} is inactive`, async () =>
        (await viewer.messages("slot-status")).findLast((message) => message["slot"] === slot)?.["status"] === "inactive",
      );
    }
    const { state, offers } = await viewer.negotiation();
    assert.deepEqual([state, offers], ["stable", 1]);
  }
  // They are counted every second, and what ends takes a moment; what has leaked stays.
  let after = await resources();
  await until("as many threads and descriptors as before", async () => {
    after = await resources();
    return after.threads <= before.threads + 2 && after.descriptors <= before.descriptors + 4;
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify([before, after])}`);
  });
  assert.ok(after.rss_bytes < before.rss_bytes + 24 * 1024 * 1024, `memory: ${JSON.stringify([before, after])}`);
  await Promise.all(viewers.map((viewer) => viewer.close()));
});

/** The same numbers at each run, so that a failure can be repeated (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}
