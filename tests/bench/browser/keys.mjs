// Key event in the page → changed pixel presented. The session shows a terminal that echoes.
//
//   node keys.mjs URL COUNT

import { main, open } from "./lib.mjs";

const [url, count] = [process.argv[2], Number(process.argv[3])];

/** In the page: `echo()` resolves when a frame has been presented whose top rows are not those of before the key. */
function watchKeys() {
  const rect = { x: 0, y: 0, width: 640, height: 128 };
  /** A cursor moves and a letter appears: far more than this changes by far more. Encoding noise does not. */
  const [LUMA, PIXELS] = [48, 8];
  let key = null;
  addEventListener("keydown", (event) => (key ??= event.timeStamp), { capture: true });

  const changed = (before, after) => {
    let count = 0;
    for (let y = 0; y < rect.height; y++) {
      for (let x = 0; x < rect.width; x++) {
        const difference = after.pixels[y * after.stride + x] - before.pixels[y * before.stride + x];
        if (Math.abs(difference) > LUMA) count++;
      }
    }
    return count >= PIXELS;
  };

  /** Resolves when no frame has been presented for a while. */
  globalThis.quiet = () =>
    new Promise((resolve) => {
      let timer;
      const again = () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          stop();
          resolve();
        }, 300);
      };
      const stop = bench.onFrame(again);
      again();
    });

  globalThis.arm = async () => {
    const before = await bench.luma(rect);
    key = null;
    globalThis.echoed = new Promise((resolve) => {
      const stop = bench.onFrame(async (_now, metadata) => {
        const { presentationTime } = metadata;
        const after = await bench.luma(rect);
        if (key === null || !changed(before, after)) return;
        stop();
        resolve(presentationTime - key);
      });
    });
  };
}

await main(async (browser) => {
  const page = await open(browser, url, watchKeys);
  await page.waitForFunction(() => bench.video !== null && bench.video.videoWidth > 0);
  await page.getByTestId("surface").click();
  const echoes = [];
  for (let n = 0; n < count; n++) {
    await page.evaluate(() => quiet());
    await page.evaluate(() => arm());
    // A key at any time of the display's interval.
    await page.waitForTimeout(Math.random() * 40);
    await page.keyboard.press(n % 20 === 19 ? "Enter" : "abcdefghij"[n % 10]);
    const late = page.waitForTimeout(3000).then(() => null);
    const ms = await Promise.race([page.evaluate(() => echoed), late]);
    if (ms === null) throw new Error(`key ${n}: nothing has changed within 3 s`);
    echoes.push(ms);
  }
  return { echoes_ms: echoes };
});
