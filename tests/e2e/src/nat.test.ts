/** Viewers whom the streamer cannot reach directly: through a real TURN server, and through a 1:1 NAT. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { advancing, launch, openPage, resumed, selectedPair } from "./support/browser.js";
import { cleanUp } from "./support/cleanup.js";
import { ended, Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SECRET = "north-by-northwest";
const SOURCE = { type: "test", width: 320, height: 180, fps: 30, audio: false };

let browser: Browser;

before(async () => {
  ({ browser } = await launch());
});

/** A UDP port of an address that is free now. */
async function freePort(address: string): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((done, failed) => {
    socket.once("error", failed);
    socket.bind(0, address, done);
  });
  const { port } = socket.address();
  await new Promise<void>((done) => socket.close(() => { done(); }));
  return port;
}

/** coturn on loopback, which lets viewers reach loopback through it. */
async function startTurn(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "oriel-turn-"));
  cleanUp(() => { rmSync(dir, { recursive: true, force: true }); });
  const port = await freePort("127.0.0.1");
  const options = [
    "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", `--listening-port=${String(port)}`,
    "--use-auth-secret", `--static-auth-secret=${SECRET}`, "--realm=oriel.test", "--allow-loopback-peers",
    "--no-cli", "--no-tls", "--no-dtls", "--no-tcp-relay", "--log-file=stdout", "--simple-log",
    `--pidfile=${join(dir, "turn.pid")}`, `--userdb=${join(dir, "turn.db")}`,
  ];
  const child: ChildProcess = spawn("turnserver", options, { stdio: ["ignore", "pipe", "pipe"] });
  cleanUp(() => ended(child, "SIGTERM"));
  let [log, over] = ["", false];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (data: Buffer) => (log = (log + data.toString()).slice(-8000)));
  }
  child.once("error", (error) => { [log, over] = [error.message, true]; });
  child.once("exit", () => (over = true));
  await until("coturn listens", async () => {
    assert.ok(!over, `coturn has ended (package coturn): ${log}`);
    return answersStun(port);
  });
  return port;
}

/** A binding request (RFC 8489 §14) is answered. */
async function answersStun(port: number): Promise<boolean> {
  const socket = createSocket("udp4");
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  request.write("oriel-test-1", 8, "latin1");
  try {
    return await new Promise<boolean>((done) => {
      socket.on("message", () => { done(true); });
      socket.on("error", () => { done(false); });
      setTimeout(() => { done(false); }, 300);
      socket.send(request, port, "127.0.0.1");
    });
  } finally {
    socket.close();
  }
}

type Path = { local: string; remote: string; address: string };

/** The path that media takes. */
async function path(page: Page): Promise<Path | undefined> {
  const pair = await selectedPair(page);
  if (pair === undefined) return undefined;
  const { local, remote } = pair;
  return {
    local: String(local["candidateType"]),
    remote: String(remote["candidateType"]),
    address: `${String(remote["address"])}:${String(remote["port"])}`,
  };
}

async function credential(page: Page): Promise<string | undefined> {
  return page.evaluate(() => window.probe.connections.at(-1)?.getConfiguration().iceServers?.[0]?.username);
}

async function live(page: Page): Promise<void> {
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  await advancing(page, 10);
}

test("a viewer that only a relay reaches watches through coturn, and has new credentials when it comes back", async () => {
  const port = await startTurn();
  const server = await Server.start(
    `listen_ips: [127.0.0.1]\nturn: {urls: ["turn:127.0.0.1:${String(port)}?transport=udp"], secret: ${SECRET}}\n`,
  );
  await server.create("relayed", SOURCE);
  const page = await openPage(browser, new URL("s/relayed?relay", server.url).href);
  await live(page);
  assert.equal((await path(page))?.local, "relay");
  const user = await credential(page);
  const ends = Number(/^(\d+):/.exec(user ?? "")?.[1]) - Date.now() / 1000;
  assert.ok(ends > 11 * 3600 && ends < 13 * 3600, `${String(user)} ends in ${String(ends)} s`);

  const web = new URL(server.url).port;
  await server.kill();
  await server.run(web);
  await resumed(page);
  await until("new credentials", async () => (await credential(page)) !== user);
  assert.equal(await page.evaluate(() => window.probe.connections.length), 1, "the same connection");
  await advancing(page, 10);
  await page.context().close();
  await server.delete("relayed");
});

test("no path is found through a relay with another secret", async () => {
  const port = await startTurn();
  const server = await Server.start(
    `listen_ips: [127.0.0.1]\nturn: {urls: ["turn:127.0.0.1:${String(port)}?transport=udp"], secret: wrong}\n`,
  );
  await server.create("relayed", SOURCE);
  const page = await openPage(browser, new URL("s/relayed?relay", server.url).href);
  const gathered = await until("gathering ends", () =>
    page.evaluate(() => {
      const connection = window.probe.connections.at(-1);
      return connection?.iceGatheringState === "complete" ? connection.localDescription?.sdp : undefined;
    }),
  );
  assert.doesNotMatch(gathered, /a=candidate:/);
  await page.context().close();
  await server.delete("relayed");
});

/** A 1:1 NAT of one port: what comes to `outside` goes on to `inside`, from a port of its own for each sender. */
async function startNat(outside: string, inside: string, port: number): Promise<{ inbound: number; outbound: number }> {
  const counts = { inbound: 0, outbound: 0 };
  const front = createSocket("udp4");
  const mapped = new Map<string, Socket>();
  cleanUp(() => {
    for (const socket of [front, ...mapped.values()]) socket.close();
  });
  front.on("message", (data, from) => {
    counts.inbound += 1;
    const key = `${from.address}:${String(from.port)}`;
    let back = mapped.get(key);
    if (back === undefined) {
      back = createSocket("udp4");
      back.on("message", (answer) => {
        counts.outbound += 1;
        front.send(answer, from.port, from.address);
      });
      mapped.set(key, back);
    }
    back.send(data, port, inside);
  });
  await new Promise<void>((done, failed) => {
    front.once("error", failed);
    front.bind(port, outside, done);
  });
  return counts;
}

test("behind a 1:1 NAT the public address is offered, and leads to the streamer", async () => {
  const [outside, inside] = ["127.0.0.9", "127.0.0.1"];
  const port = await freePort(inside);
  const counts = await startNat(outside, inside, port);
  const server = await Server.start(
    `listen_ips: [${inside}]\nmax_streamers: 1\nwebrtc: {udp_ports: "${String(port)}", public_ip: ${outside}}\n`,
  );
  await server.create("inside", SOURCE);
  const page = await openPage(browser, new URL("s/inside", server.url).href);
  await live(page);
  const sdp = await page.evaluate(() => window.probe.connections.at(-1)?.remoteDescription?.sdp ?? "");
  const offered = [...sdp.matchAll(/^a=candidate:\S+ \d+ udp \d+ (\S+) (\d+)/gm)].map(([, ip, of]) => `${String(ip)}:${String(of)}`);
  assert.deepEqual([...new Set(offered)], [`${outside}:${String(port)}`]);
  assert.ok(counts.inbound > 0 && counts.outbound > 0, JSON.stringify(counts));
  await page.context().close();
  await server.delete("inside");
});
