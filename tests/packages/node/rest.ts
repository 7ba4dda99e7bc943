// Drives one session by `@oriel/client/api`, without a page: node rest.js URL SECRET FILE, where the session's program writes to FILE
// what was typed.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Api, type ApiEvent, ProblemError } from "@oriel/client/api";

const [url, secret, file] = process.argv.slice(2);
assert.ok(url !== undefined && secret !== undefined && file !== undefined, "usage: rest.js URL SECRET FILE");

const WORDS = "written by the package";
const api = new Api(url, secret);
const id = "rest";
const created = await api.create(
  {
    id,
    idle_timeout_s: 600,
    source: {
      type: "desktop",
      width: 640,
      height: 360,
      audio: false,
      command: `exec xterm -geometry 80x24+0+0 -e sh -c 'read line; echo "$line" > ${file}; exec sleep 1000'`,
    },
  },
  { wait: "running" },
);
assert.deepEqual([created.id, created.state], [id, "running"]);

const events: ApiEvent[] = [];
const listening = (async () => {
  for await (const event of api.events(id)) events.push(event);
})();

// A program that has just been started reads no input yet, so the line is typed until it is there.
await until("the words", async () => {
  await api.input(id, [
    { type: "click", at: { x: 100, y: 100 } },
    { type: "text", text: `${WORDS}\n` },
  ]);
  return (await readFile(file, "utf8").catch(() => "")) !== "";
});
assert.match(await readFile(file, "utf8"), new RegExp(`${WORDS}\n$`));

const picture = Buffer.from(await (await api.snapshot(id, { format: "png" })).arrayBuffer());
assert.equal(picture.subarray(1, 4).toString("latin1"), "PNG");
assert.equal(picture.readUInt32BE(16), 640);

// A guest sees this session, and may neither type nor see others.
const { token, token_id: tokenId, role } = await api.createToken(id, { role: "viewer", expires_in_s: 60 });
assert.equal(role, "viewer");
const guest = new Api(url, () => token);
assert.equal((await guest.streamer(id)).id, id);
await refused(guest.input(id, [{ type: "text", text: "x" }]), 403, "forbidden");
await api.revokeToken(id, tokenId);
await refused(guest.streamer(id), 401, "unauthorized");

// Errors name the field and the reason.
const field = await refused(api.resize(id, { width: 1, height: 1 }), 400, "invalid_field");
assert.match(field ?? "", /width/);
await refused(api.streamer("nobody"), 404, "streamer_not_found");

assert.equal((await api.update(id, { on_idle: "delete" })).id, id);
const stop = new AbortController();
const endless = api.events(null, { signal: stop.signal }).next();
stop.abort();
await assert.rejects(endless, { name: "AbortError" });

await api.remove(id);
await listening;
assert.equal(events.at(-1)?.type, "deleted", JSON.stringify(events));
await refused(api.streamer(id), 404, "streamer_not_found");

async function refused(call: Promise<unknown>, status: number, code: string): Promise<string | undefined> {
  const error = await call.then(
    () => assert.fail(`it was not refused with ${code}`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ProblemError, String(error));
  assert.deepEqual([error.status, error.code], [status, code], error.message);
  return error.field;
}

async function until(what: string, reached: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await reached())) {
    assert.ok(Date.now() < deadline, `waited in vain for ${what}`);
    await delay(100);
  }
}
