// WebSocket open → first presented frame: a warm browser, a new page for each join.
//
//   node join.mjs URL COUNT

import { main, open } from "./lib.mjs";

const [url, count] = [process.argv[2], Number(process.argv[3])];

/** In the page: when the first WebSocket opened and when the first frame was presented. */
function watchJoin() {
  const opened = new Promise((resolve) => {
    const Native = globalThis.WebSocket;
    globalThis.WebSocket = class extends Native {
      constructor(...args) {
        super(...args);
        this.addEventListener("open", () => resolve(performance.now()), { once: true });
      }
    };
  });
  const presented = new Promise((resolve) => {
    bench.onFrame((_now, metadata) => resolve(metadata.presentationTime));
  });
  globalThis.joined = Promise.all([opened, presented]).then(([from, to]) => ({ ms: to - from, from }));
}

await main(async (browser) => {
  const joins = [];
  for (let n = 0; n <= count; n++) {
    const page = await open(browser, url, watchJoin);
    const { ms, from } = await page.evaluate(() => joined);
    // The first one warms the browser up.
    if (n > 0) joins.push({ ms, page_ms: from + ms });
    await page.close();
  }
  return { joins };
});
