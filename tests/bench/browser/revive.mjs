// Death of a streamer → its successor's first presented frame, in a page that watches.
//
//   node revive.mjs ROOT ID COUNT

import { main, open } from "./lib.mjs";

const [root, id, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

const streamer = async () => (await fetch(new URL(`api/streamers/${id}`, root))).json();

/** Counters of a running process that is not `other`. */
async function runs(other) {
  for (;;) {
    const { state, stats } = await streamer();
    if (state === "running" && stats !== null && stats.process.pid !== other) return stats.process.pid;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** In the page: resolves when a video that has tracks of a new connection presents a frame. */
function presentedAnew() {
  const tracks = () => [...document.querySelectorAll("video")].flatMap((video) => video.srcObject?.getTracks() ?? []);
  const old = new Set(tracks().map(({ id }) => id));
  const connection = globalThis.oriel.client.negotiation.connections;
  globalThis.anew = new Promise((resolve) => {
    const look = () => {
      for (const video of document.querySelectorAll("video")) {
        if (globalThis.oriel.client.negotiation.connections === connection) continue;
        if (!(video.srcObject?.getVideoTracks() ?? []).some(({ id, readyState }) => readyState === "live" || !old.has(id))) continue;
        video.requestVideoFrameCallback(() => resolve(Date.now()));
        return;
      }
      requestAnimationFrame(look);
    };
    look();
  });
}

await main(async (browser) => {
  const page = await open(browser, new URL(`s/${id}`, root).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]");
  let pid = await runs(null);
  const ms = [];
  for (let n = 0; n < count; n++) {
    await page.evaluate(presentedAnew);
    const killed = Date.now();
    process.kill(pid, "SIGKILL");
    ms.push((await page.evaluate(() => globalThis.anew)) - killed);
    pid = await runs(pid);
    await page.waitForSelector("[data-testid=viewer][data-live=true]");
    // A loss sooner than five seconds after the last one counts as another failure in a row, for which a page waits longer.
    await new Promise((resolve) => setTimeout(resolve, 5_500));
  }
  return { ms };
});
