/** `multistream/*`: many streams over one connection that the browser offers, and no negotiation after it. */

import assert from "node:assert/strict";
import { afterEach, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch } from "./support/browser.js";
import { type Client, open, type Wish } from "./support/multistream.js";
import { Server } from "./support/server.js";
import { unchanged, until } from "./support/wait.js";

/** Streams and the widths that tell them apart. */
const WIDTHS: Readonly<Record<string, number>> = { a: 160, b: 176, c: 192, d: 208, e: 224, f: 240 };
const NAMES = Object.keys(WIDTHS);

let server: Server;
let browser: Browser;

before(async () => {
  const streams = NAMES.map((name) => `  ${name}: test:#width=${String(width(name))}#height=96#fps=10`);
  server = await Server.start(`streams:\n${streams.join("\n")}\n`);
  ({ browser } = await launch());
});

// One test's failure is not that of those after it.
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  await until("nobody is left", async () => (await peers()).length === 0);
});

function width(stream: string): number {
  return WIDTHS[stream] ?? 0;
}

function wishes(names: readonly string[]): Wish[] {
  return names.map((stream, slot) => ({ slot, stream }));
}

async function watching(names: readonly string[]): Promise<{ client: Client; session: string }> {
  const client = await open(browser, server.url);
  const { session } = await client.init(wishes(names));
  await client.offer(names.length);
  return { client, session };
}

async function peers(): Promise<{ id: string; kind: string }[]> {
  return (await server.streamer("cameras")).peers;
}

async function leave(...clients: Client[]): Promise<void> {
  for (const client of clients) {
    await client.send({ type: "multistream/close" });
    await client.close();
  }
  await until("nobody is left", async () => (await peers()).length === 0);
}

test("six streams over one connection, each in its slot, and every slot switches without a negotiation", async () => {
  const client = await open(browser, server.url);
  const ready = await client.init(wishes(NAMES));
  assert.equal(ready.resumed, false);
  assert.equal(ready.slots, 6);
  const answered = await client.offer(6, { audio: 6 });
  assert.deepEqual(answered.map(({ slot, stream }) => [slot, stream]), NAMES.map((name, slot) => [slot, name]));
  await Promise.all(NAMES.map((name, slot) => client.presents(slot, width(name))));
  await Promise.all(NAMES.map((name, slot) => client.status(slot, name, "active")));
  await until("sound in every slot", async () => (await client.bytes("audio")).every((bytes) => bytes > 0));
  assert.deepEqual((await peers()).map(({ kind }) => kind), ["multistream"]);

  const before = await client.connection();
  assert.deepEqual([before.state, before.connections], ["stable", 1]);
  for (const shift of [1, 2]) {
    for (const slot of NAMES.keys()) {
      const stream = NAMES[(slot + shift) % 6] ?? "";
      await client.send({ type: "multistream/switch", request_id: slot, slot, stream, quality: "native" });
    }
    await Promise.all([...NAMES.keys()].map((slot) => client.presents(slot, width(NAMES[(slot + shift) % 6] ?? ""))));
  }
  const tags = (await client.messages("multistream/status")).map((message) => message["request_id"]);
  for (const slot of NAMES.keys()) assert.ok(tags.includes(slot), `slot ${String(slot)} was answered`);
  assert.deepEqual(await client.connection(), before);
  await leave(client);
});

test("a stream that does not exist is an error in its slot, and the others are shown", async () => {
  const client = await open(browser, server.url);
  await client.init(wishes(["a", "nothing", "c"]));
  const [, refused] = await client.offer(3);
  assert.deepEqual(refused, { slot: 1, stream: "nothing", status: "error", error: "stream not found" });
  await Promise.all([client.presents(0, width("a")), client.presents(2, width("c"))]);
  await Promise.all([client.status(0, "a", "active"), client.status(2, "c", "active")]);
  assert.equal((await client.bytes("video"))[1], 0);

  await client.send({ type: "multistream/switch", slot: 1, stream: "nothing either" });
  await client.status(1, "nothing either", "error");
  await client.send({ type: "multistream/switch", slot: 1, stream: "b" });
  await client.presents(1, width("b"));
  assert.deepEqual(await client.messages("error"), []);
  await leave(client);
});

test("offers come with less sound, with a data channel, and from clients that could send", async () => {
  const client = await open(browser, server.url);
  await client.init(wishes(["a", "b", "c"]));
  await client.offer(3, { audio: 1, data: true, direction: "sendrecv" });
  await Promise.all(["a", "b", "c"].map((name, slot) => client.presents(slot, width(name))));
  await until("sound", async () => ((await client.bytes("audio"))[0] ?? 0) > 0);
  await leave(client);
});

test("paused slots get nothing, and a slot can begin empty", async () => {
  const client = await open(browser, server.url);
  await client.init([
    { slot: 0, stream: "a" },
    { slot: 2, stream: "c" },
  ]);
  const slots = await client.offer(3);
  assert.deepEqual(slots.map(({ status }) => status), ["pending", "inactive", "pending"]);
  await Promise.all([client.presents(0, width("a")), client.presents(2, width("c"))]);

  // The empty one as well.
  await client.send({ type: "multistream/pause", slot: -1 });
  await Promise.all([client.status(0, "a", "paused"), client.status(2, "c", "paused")]);
  // It keeps the other stream going, too, so that what comes back could begin with pictures that were shown already.
  const witness = await watching(["b", "c"]);
  await witness.client.presents(1, width("c"));
  const paused = await unchanged(
    "nothing is sent in a paused slot",
    () => client.bytes("video"),
    () => witness.client.goesOn(1, 10),
  );

  for (const slot of [1, 2]) await client.send({ type: "multistream/resume", slot });
  // What it showed before is among the numbers that must grow.
  await client.presents(2, width("c"), 10);
  await client.send({ type: "multistream/keyframe", slot: -1 });
  await client.send({ type: "multistream/switch", slot: 1, stream: "d", quality: "" });
  await client.presents(1, width("d"));
  assert.equal((await client.bytes("video"))[0], paused[0]);
  await leave(client, witness.client);
});

test("a client that comes back in time finds its slots as they were, and its pictures never stop", async () => {
  const { client, session } = await watching(["a", "nothing", "c"]);
  await client.send({ type: "multistream/switch", slot: 2, stream: "d" });
  await client.presents(2, width("d"));
  const [peer] = await peers();
  const before = await client.connection();

  // It comes back at once, whatever the pictures take: a busy machine needs not much more for them than the server waits.
  const again = async (): Promise<{ session: string; resumed: boolean; slots: number }> => {
    await client.connect();
    return client.init([], session);
  };
  await client.disconnect();
  const [ready] = await Promise.all([again(), client.goesOn(0, 5)]);
  assert.deepEqual([ready.resumed, ready.session], [true, session]);
  assert.equal(ready.slots, 3);
  await Promise.all([
    client.status(0, "a", "active"),
    client.status(1, "nothing", "error"),
    client.status(2, "d", "active"),
  ]);
  await client.send({ type: "multistream/switch", slot: 0, stream: "e" });
  await client.presents(0, width("e"));
  assert.deepEqual(await client.connection(), before);
  assert.deepEqual((await peers()).map(({ id }) => id), [peer?.id]);

  // The same when the server was not there for a while.
  await server.kill();
  const back = server.run(new URL(server.url).port).then(again);
  const [{ resumed }] = await Promise.all([back, client.goesOn(2, 5)]);
  assert.equal(resumed, true);
  await client.send({ type: "multistream/switch", slot: 1, stream: "b" });
  await client.presents(1, width("b"));
  assert.deepEqual(await client.connection(), before);
  await leave(client);
});

test("a client that stays away is forgotten after ten seconds, and begins anew", async () => {
  const { client, session } = await watching(["a"]);
  await client.presents(0, width("a"));
  // Before it leaves: only that it is not forgotten too soon is claimed.
  const left = performance.now();
  await client.disconnect();
  await until("it is forgotten", async () => (await peers()).length === 0);
  const seconds = (performance.now() - left) / 1000;
  assert.ok(seconds > 9.5, `${String(seconds)} s`);

  await client.connect();
  const ready = await client.init(wishes(["b"]), session);
  assert.equal(ready.resumed, false);
  assert.notEqual(ready.session, session);
  await client.offer(1);
  await client.presents(0, width("b"));

  // Removed by somebody else, it is told and may begin once more on the same WebSocket.
  const [peer] = await peers();
  await server.json("DELETE", `api/streamers/cameras/peers/${peer?.id ?? ""}`);
  assert.equal(typeof (await client.told("multistream/disconnected"))["reason"], "string");
  await client.send({ type: "multistream/init", slots: wishes(["c"]) });
  await until("a second ready", async () => (await client.messages("multistream/ready")).length === 2);
  await leave(client);
});
