// Six cameras in pages: a client of multistream/* of its own, so that nothing else is measured.
//
//   node cameras.mjs ROOT connect COUNT STREAM…    pages one after the other: WebSocket open to a picture of every stream
//   node cameras.mjs ROOT one|six STREAM…          all of them in one page, or each in a page of its own; until the line "stop"

import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { main, open } from "./lib.mjs";

const [root, what, ...rest] = process.argv.slice(2);

/** In the page: shows the streams in slots of one connection. Resolves when all present pictures; milliseconds. */
async function show({ url, streams }) {
  const begin = performance.now();
  const socket = new WebSocket(url);
  const connection = new RTCPeerConnection();
  globalThis.connection = connection;
  const send = (message) => socket.send(JSON.stringify(message));
  document.body.style.cssText = "display: grid; grid-template-columns: repeat(3, 330px); margin: 0";
  const presented = streams.map(() => {
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
    video.srcObject = new MediaStream([receiver.track]);
    video.style.cssText = "width: 320px; height: 180px";
    document.body.append(video);
    return new Promise((resolve) => {
      video.requestVideoFrameCallback((_now, { presentationTime }) => resolve(presentationTime - begin));
    });
  });
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (candidate !== null) send({ type: "multistream/ice", candidate: candidate.candidate });
  });
  socket.addEventListener("open", () => {
    send({ type: "multistream/init", slots: streams.map((stream, slot) => ({ slot, stream })) });
  });
  socket.addEventListener("message", async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "multistream/ready") {
      await connection.setLocalDescription();
      send({ type: "multistream/offer", sdp: connection.localDescription.sdp });
    } else if (message.type === "multistream/answer") {
      await connection.setRemoteDescription({ type: "answer", sdp: message.sdp });
    }
  });
  return Math.max(...(await Promise.all(presented)));
}

async function watch(browser, streams) {
  const page = await open(browser, new URL("healthz", root).href);
  const url = new URL("api/ws", root);
  url.protocol = "ws:";
  return { page, ms: await page.evaluate(show, { url: url.href, streams }) };
}

/** Memory of the browser's processes, bytes; what several share is counted once. */
function memory() {
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const ours = (pid) => pid === process.pid || (parents.has(pid) && pid > 1 && ours(parents.get(pid)));
  let sum = 0;
  for (const pid of parents.keys()) {
    if (pid === process.pid || !ours(pid)) continue;
    try {
      sum += 1024 * Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum;
}

await main(async (browser) => {
  if (what === "connect") {
    const [count, ...streams] = rest;
    const connected_ms = [];
    for (let n = 0; n < Number(count); n++) {
      const { page, ms } = await watch(browser, streams);
      connected_ms.push(ms);
      await page.close();
    }
    return { connected_ms };
  }
  for (const streams of what === "one" ? [rest] : rest.map((stream) => [stream])) await watch(browser, streams);
  process.stdout.write("{}\n");
  await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
  return { memory_bytes: memory() };
});
