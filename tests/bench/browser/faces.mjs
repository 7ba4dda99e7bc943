// A picture that a page publishes, from being drawn to being presented in the same page: through the server (WHIP and WHEP), and by a
// direct connection of two peers, in turn.
//
//   node faces.mjs ROOT STREAMER RUNS SECONDS

import { main, open } from "./lib.mjs";

const [root, id, runs, seconds] = process.argv.slice(2);

/** In the page: `faces.*`. A picture has its number in sixteen squares. */
function install(base) {
  const [WIDTH, HEIGHT, SIDE, BITS] = [640, 360, 40, 16];
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const paint = canvas.getContext("2d", { alpha: false });
  const drawn = [];
  const draw = () => {
    const number = drawn.length;
    paint.fillStyle = `hsl(${number % 360} 60% 50%)`;
    paint.fillRect(0, 0, WIDTH, HEIGHT);
    for (let bit = 0; bit < BITS; bit++) {
      paint.fillStyle = (number >> bit) & 1 ? "white" : "black";
      paint.fillRect(bit * SIDE, 0, SIDE, SIDE);
    }
    drawn.push(performance.now());
  };
  setInterval(draw, 1000 / 30);
  const [track] = canvas.captureStream(30).getVideoTracks();

  /** As two pages would have it, whatever each of them likes best. */
  const prefer = (transceiver) => {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => ["video/H264", "video/rtx"].includes(mimeType)));
  };
  const sender = () => {
    const connection = new RTCPeerConnection();
    prefer(connection.addTransceiver(track, { direction: "sendonly" }));
    return connection;
  };
  const receiver = () => {
    const connection = new RTCPeerConnection();
    prefer(connection.addTransceiver("video", { direction: "recvonly" }));
    return connection;
  };
  const gathered = (connection) =>
    new Promise((resolve) => {
      const look = () => connection.iceGatheringState === "complete" && resolve();
      connection.addEventListener("icegatheringstatechange", look);
      look();
    });
  /** Offers by HTTP; how a connection is ended. */
  const offerTo = async (connection, path) => {
    await connection.setLocalDescription();
    await gathered(connection);
    const answer = await fetch(`${base}/${path}`, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: connection.localDescription.sdp,
    });
    if (answer.status !== 201) throw new Error(`${path}: ${await answer.text()}`);
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    return async () => {
      connection.close();
      await fetch(new URL(answer.headers.get("location"), answer.url), { method: "DELETE" });
    };
  };
  const connect = async (from, to) => {
    await from.setLocalDescription();
    await gathered(from);
    await to.setRemoteDescription(from.localDescription);
    await to.setLocalDescription();
    await gathered(to);
    await from.setRemoteDescription(to.localDescription);
  };

  /** Calls back with each presented picture of what comes, until it is stopped. */
  const present = (connection, each) => {
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
    video.srcObject = new MediaStream([connection.getReceivers()[0].track]);
    document.body.append(video);
    const next = (_now, metadata) => {
      each(video, metadata.presentationTime);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    return () => video.remove();
  };
  const eye = new OffscreenCanvas(WIDTH, SIDE).getContext("2d", { willReadFrequently: true });
  const numberIn = (video) => {
    eye.drawImage(video, 0, 0, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT);
    const { data } = eye.getImageData(0, SIDE / 2, WIDTH, 1);
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) {
      if (data[4 * (bit * SIDE + SIDE / 2) + 1] > 127) number |= 1 << bit;
    }
    return number;
  };

  const latencies = async (connection, seconds) => {
    const values = [];
    let since = Infinity;
    const stop = present(connection, (video, presented) => {
      const at = drawn[numberIn(video)];
      if (at === undefined || presented < since) return;
      values.push(presented - at);
    });
    // Encoders and jitter buffers settle first.
    since = performance.now() + 3000;
    await new Promise((resolve) => setTimeout(resolve, 3000 + 1000 * seconds));
    stop();
    return values;
  };

  globalThis.faces = {
    async direct(seconds) {
      // What answers takes the sections of the offer, and has none of its own.
      const [from, to] = [sender(), new RTCPeerConnection()];
      await connect(from, to);
      const values = await latencies(to, seconds);
      from.close();
      to.close();
      return values;
    },
    /** The same through the server, and how long each of some who come later waits for the first picture. */
    async relayed(seconds, joins) {
      const [from, to] = [sender(), receiver()];
      const ends = [await offerTo(from, "whip"), await offerTo(to, "whep")];
      const values = await latencies(to, seconds);
      const joined = [];
      for (let n = 0; n < joins; n++) {
        const late = receiver();
        const begin = performance.now();
        const first = new Promise((resolve) => {
          const stop = present(late, (_video, presented) => {
            resolve(presented - begin);
            stop();
          });
        });
        ends.push(await offerTo(late, "whep"));
        joined.push(await first);
      }
      for (const end of ends.toReversed()) await end();
      return { values, joined };
    },
  };
}

await main(async (browser) => {
  const page = await open(browser, new URL("healthz", root).href, install, new URL(`api/streamers/${id}`, root).href);
  const result = { direct_ms: [], relayed_ms: [], joined_ms: [] };
  for (let n = 0; n < Number(runs); n++) {
    result.direct_ms.push(await page.evaluate((s) => faces.direct(s), Number(seconds)));
    const { values, joined } = await page.evaluate((s) => faces.relayed(s, 10), Number(seconds));
    result.relayed_ms.push(values);
    result.joined_ms.push(...joined);
  }
  return result;
});
