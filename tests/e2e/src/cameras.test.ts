/** Six cameras of a real RTSP server in one page, over one connection. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./support/browser.js";
import { film, Rtsp, seen } from "./support/cameras.js";
import { cleanUp } from "./support/cleanup.js";
import { type Client, open } from "./support/multistream.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const CAMERAS = 6;
const SWITCHES = 10;
/** The camera that will lose power has a server of its own. */
const FRAIL = 5;

let server: Server;
let browser: Browser;
let frail: Rtsp;
let frailFilm: string;

before(async () => {
  const dir = mkdtempSync(join(tmpdir(), "oriel-cameras-"));
  cleanUp(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  const files = Array.from({ length: CAMERAS }, (_, camera) => join(dir, `${String(camera)}.mp4`));
  files.forEach((file, camera) => {
    film(file, camera, 240);
  });
  const films = Object.fromEntries(files.slice(0, FRAIL).map((file, camera) => [`camera${String(camera)}`, file]));
  frailFilm = files[FRAIL] ?? "";
  const sturdy = await Rtsp.start(films);
  frail = await Rtsp.start({ [`camera${String(FRAIL)}`]: frailFilm });
  server = await Server.start();
  const sources = Object.fromEntries(
    files.map((_, camera) => {
      const name = `camera${String(camera)}`;
      return [name, { type: "rtsp", url: (camera === FRAIL ? frail : sturdy).url(name), always_on: true }];
    }),
  );
  await server.json("POST", "api/streamers?wait=running", { id: "cameras", share: false, sources });
  ({ browser } = await launch());
});

/** Waits until each slot, but for one, shows these cameras, and another picture than the one it showed first. */
async function presents(client: Client, cameras: readonly number[], but: number | null = null): Promise<void> {
  const first = cameras.map((): number | null => null);
  const moved = cameras.map((_, slot) => slot === but);
  await until(`slots that show the cameras ${cameras.join()}`, async () => {
    (await seen(client.page)).forEach((now, slot) => {
      if (now === null || now.camera !== cameras[slot]) return;
      const begun = (first[slot] ??= now.picture);
      moved[slot] ||= now.picture !== begun;
    });
    return moved.every((done) => done);
  });
}

test("six cameras are shown over one connection, switched ten times in every slot, and one that loses power comes back", async () => {
  const client = await open(browser, server.url);
  const shown = Array.from({ length: CAMERAS }, (_, camera) => camera);
  await client.init(shown.map((camera) => ({ slot: camera, stream: `camera${String(camera)}` })));
  await client.offer(CAMERAS);
  await presents(client, shown);
  const connected = await client.connection();

  for (let round = 1; round <= SWITCHES; round++) {
    const wanted = shown.map((slot) => (slot + round) % CAMERAS);
    for (const [slot, camera] of wanted.entries()) {
      await client.send({ type: "multistream/switch", request_id: String(round), slot, stream: `camera${String(camera)}` });
    }
    await presents(client, wanted);
  }
  const last = shown.map((slot) => (slot + SWITCHES) % CAMERAS);

  const dark = last.indexOf(FRAIL);
  await frail.kill();
  const offline = await client.status(dark, `camera${String(FRAIL)}`, "offline");
  assert.notEqual(offline.error, undefined, "it is told why");
  // The others go on meanwhile.
  await presents(client, last, dark);
  // What it had sent before has been shown by then.
  const stands = (await seen(client.page))[dark];
  await presents(client, last, dark);
  assert.deepEqual((await seen(client.page))[dark], stands, "a camera without power gives no pictures");
  frail = await Rtsp.start({ [`camera${String(FRAIL)}`]: frailFilm }, frail.port);
  // It is tried again after pauses that grow.
  await client.status(dark, `camera${String(FRAIL)}`, "active", 60_000);
  await presents(client, last);

  const { state, negotiations, connections, sdp } = await client.connection();
  assert.deepEqual([state, negotiations, connections, sdp === connected.sdp], ["stable", connected.negotiations, 1, true]);
  await client.close();
});
