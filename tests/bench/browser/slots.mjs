// What a page that is connected sees when slots change: a native viewer of its own, so that nothing else is measured.
//
//   node slots.mjs ROOT ID switch COUNT STREAM…       the streams are shown in turn, in six slots; each has a width of its own
//   node slots.mjs ROOT ID windows COUNT WINDOW…      the windows are shown in slot 1 in turn, after it has shown nothing

import { main, open } from "./lib.mjs";

const [root, id, what, count, ...shown] = process.argv.slice(2);

/** In the page: joins by the native protocol, and watches every slot. */
async function join(url) {
  const connection = new RTCPeerConnection();
  const socket = new WebSocket(url, "oriel.v1");
  const slots = [];
  const send = (message) => socket.send(JSON.stringify(message));
  const follow = (video, slot) => {
    video.requestVideoFrameCallback((_now, { width, presentationTime }) => {
      slot.count += 1;
      slot.seen?.(width, presentationTime);
      follow(video, slot);
    });
  };
  connection.addEventListener("track", ({ track, transceiver }) => {
    if (track.kind !== "video") return;
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
    video.srcObject = new MediaStream([track]);
    video.style.cssText = "width: 320px; height: 180px";
    document.body.append(video);
    const slot = { count: 0, seen: null };
    slots[Number(transceiver.mid) / 2] = slot;
    follow(video, slot);
  });
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (candidate !== null) send({ type: "candidate", ...candidate.toJSON() });
  });
  ["keys", "motion", "general"].forEach((label, id) => connection.createDataChannel(label, { negotiated: true, id }));
  const answers = new Map();
  socket.addEventListener("open", () => send({ type: "hello", capabilities: {} }));
  socket.addEventListener("message", async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "slot-status" && message.status === "active") answers.get(message.requestId)?.();
    if (message.type !== "offer") return;
    await connection.setRemoteDescription({ type: "offer", sdp: message.sdp });
    await connection.setLocalDescription();
    send({ type: "answer", sdp: connection.localDescription.sdp });
  });
  await new Promise((resolve) => {
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "connected") resolve();
    });
  });
  /** Milliseconds until `slot` presents a picture for which `matches(width)` is true, from when `act` begins. */
  const measure = (slot, act, matches) =>
    new Promise((resolve, reject) => {
      const begin = performance.now();
      const late = setTimeout(() => reject(new Error(`slot ${slot} presents nothing`)), 10_000);
      slots[slot].seen = (width, at) => {
        if (!matches(width)) return;
        slots[slot].seen = null;
        clearTimeout(late);
        resolve(at - begin);
      };
      act();
    });
  const bytes = async (slot) => {
    const report = await connection.getStats();
    return [...report.values()]
      .filter((entry) => entry.type === "inbound-rtp" && entry.kind === "video" && entry.mid === String(2 * slot))
      .reduce((sum, entry) => sum + entry.bytesReceived, 0);
  };
  globalThis.viewer = { send, answers, measure, bytes, slots };
}

async function put(page, slot, source) {
  const path = `/api/streamers/${id}/slots/${slot}`;
  await page.evaluate(
    async ({ path, body }) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(path, { method: "PUT", headers, body });
      if (!response.ok) throw new Error(await response.text());
    },
    { path, body: JSON.stringify({ source }) },
  );
}

const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Streams are named by their widths. */
async function switches(page) {
  const [presented, answered] = [[], []];
  const now = shown.slice(0, 6);
  for (const [slot, stream] of now.entries()) await put(page, slot, stream);
  await rest(1000);
  for (let n = 0; n < Number(count); n++) {
    const slot = n % 6;
    const stream = shown[(shown.indexOf(now[slot]) + 1 + (n % (shown.length - 1))) % shown.length];
    const times = await page.evaluate(
      async ({ slot, stream, n }) => {
        const begin = performance.now();
        const answered = new Promise((resolve) => viewer.answers.set(String(n), () => resolve(performance.now() - begin)));
        const act = () => viewer.send({ type: "switch", slot, stream, requestId: String(n) });
        const presented = await viewer.measure(slot, act, (width) => String(width) === stream.slice(1));
        return { presented, answered: await answered };
      },
      { slot, stream, n },
    );
    now[slot] = stream;
    presented.push(times.presented);
    answered.push(times.answered);
    // At another phase of the streams' frames each time.
    await rest(70 + ((n * 37) % 100));
  }
  await page.evaluate(() => viewer.send({ type: "pause", slot: 0 }));
  await rest(300);
  const before = await page.evaluate(() => viewer.bytes(0));
  await rest(1000);
  const paused_bytes = (await page.evaluate(() => viewer.bytes(0))) - before;
  return { presented_ms: presented, answered_ms: answered, paused_bytes };
}

async function windows(page) {
  const presented = [];
  for (let n = 0; n < Number(count); n++) {
    const body = JSON.stringify({ source: { type: "window", window_id: Number(shown[n % shown.length]) } });
    const ms = await page.evaluate(
      async ({ path, body }) => {
        const headers = { "content-type": "application/json" };
        const ms = await viewer.measure(1, () => fetch(path, { method: "PUT", headers, body }), () => true);
        await fetch(path, { method: "DELETE" });
        return ms;
      },
      { path: `/api/streamers/${id}/slots/1`, body },
    );
    presented.push(ms);
    // What is still on its way of the last one must not be taken for the next.
    await rest(200);
  }
  return { presented_ms: presented, answered_ms: [], paused_bytes: 0 };
}

await main(async (browser) => {
  const page = await open(browser, new URL("healthz", root).href);
  const url = new URL(`api/streamers/${id}/peer`, root);
  url.protocol = "ws:";
  await page.evaluate(join, url.href);
  return what === "switch" ? switches(page) : windows(page);
});
