// Drives one session with the client that openapi-typescript and openapi-fetch make of docs/openapi.json.
//
// node dist/src/session.js URL SECRET FILE: FILE is where the session's program writes what was typed.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import createClient from 'openapi-fetch';

import type { components, paths } from '../generated/schema.js';

const [url, secret, file] = process.argv.slice(2);
assert.ok(url !== undefined && secret !== undefined && file !== undefined, 'usage: session.js URL SECRET FILE');

const WORDS = 'written by TypeScript';
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${secret}` } });

const source: components['schemas']['SourceSpec'] = {
  type: 'desktop',
  width: 640,
  height: 360,
  audio: false,
  command: `exec xterm -geometry 80x24+0+0 -e sh -c 'read line; echo "$line" > ${file}; exec sleep 1000'`,
};
const created = await client.POST('/api/streamers', {
  params: { query: { wait: 'running' } },
  body: { id: 'typescript', source },
});
assert.equal(created.response.status, 201, JSON.stringify(created.error));
assert.equal(created.data?.id, 'typescript');
const path = { id: 'typescript' };

// A program that has just been started reads no input yet, so the line is typed until it is there.
await until(async () => {
  const sent = await client.POST('/api/streamers/{id}/input', {
    params: { path },
    body: {
      events: [
        { type: 'click', at: { x: 100, y: 100 } },
        { type: 'text', text: `${WORDS}\n` },
      ],
    },
  });
  assert.equal(sent.response.status, 204, JSON.stringify(sent.error));
  return (await readFile(file, 'utf8').catch(() => '')) !== '';
});
assert.match(await readFile(file, 'utf8'), new RegExp(`${WORDS}\n$`));

const snapshot = await client.GET('/api/streamers/{id}/snapshot', { params: { path }, parseAs: 'arrayBuffer' });
assert.equal(snapshot.response.status, 200, JSON.stringify(snapshot.error));
const picture = Buffer.from(snapshot.data as unknown as ArrayBuffer);
assert.equal(picture.subarray(1, 4).toString('latin1'), 'PNG');
assert.equal(picture.readUInt32BE(16), 640);

const refused = await client.POST('/api/streamers/{id}/resize', { params: { path }, body: { width: 1, height: 1 } });
assert.equal(refused.error?.code, 'invalid_field', JSON.stringify(refused.error));

const deleted = await client.DELETE('/api/streamers/{id}', { params: { path } });
assert.equal(deleted.response.status, 204, JSON.stringify(deleted.error));
const gone = await client.GET('/api/streamers/{id}', { params: { path } });
assert.equal(gone.response.status, 404);
assert.equal(gone.error?.code, 'streamer_not_found');

async function until(reached: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await reached())) {
    assert.ok(Date.now() < deadline, `nothing was written to ${file}`);
    await delay(100);
  }
}
