// Glass to glass: reads the time code of each presented frame and compares it with the time of its presentation.
//
//   node glass.mjs URL GRID_WIDTH GRID_HEIGHT [sound]
//
// The grid is the area that the code was drawn for (common/src/timecode.rs), at the top left of the picture. Measures from the line
// "start" on standard input to the line "stop".

import { createInterface } from "node:readline";
import { main, open } from "./lib.mjs";

const [, , url, width, height, sound] = process.argv;

/** In the page: one entry per presented frame. The reader is common::timecode's. */
function watchCode({ width, height }) {
  const side = Math.min(width / 32, height / 16);
  const rect = { x: 0, y: 0, width: Math.ceil((16 * side) / 2) * 2, height: Math.ceil((8 * side) / 2) * 2 };
  const seen = [];
  globalThis.codes = seen;

  const brightness = ({ pixels, stride }, column, row) => {
    let sum = 0;
    for (const dy of [0.3, 0.5, 0.7]) {
      for (const dx of [0.3, 0.5, 0.7]) {
        sum += pixels[Math.floor((row + dy) * side) * stride + Math.floor((column + dx) * side)];
      }
    }
    return sum / 9;
  };
  const MAGIC = 0xa5c3;
  const crc = (bytes) => {
    let value = 0xffff;
    for (const byte of bytes) {
      value ^= byte << 8;
      for (let n = 0; n < 8; n++) value = value & 0x8000 ? ((value << 1) ^ 0x1021) & 0xffff : (value << 1) & 0xffff;
    }
    return value;
  };
  const read = (luma) => {
    const cells = Array.from({ length: 128 }, (_, n) => brightness(luma, n % 16, Math.floor(n / 16)));
    let [white, black] = [0, 0];
    for (let n = 0; n < 16; n++) {
      if ((MAGIC >> (15 - n)) & 1) white += cells[n] / 8;
      else black += cells[n] / 8;
    }
    if (white < black + 48) return null;
    const bytes = Array.from({ length: 16 }, (_, byte) =>
      cells.slice(8 * byte, 8 * byte + 8).reduce((value, cell) => value * 2 + (cell > (white + black) / 2), 0),
    );
    const number = (from, to) => bytes.slice(from, to).reduce((value, byte) => value * 256 + byte, 0);
    if (number(0, 2) !== MAGIC || number(14, 16) !== crc(bytes.slice(2, 14))) return null;
    return { frame: number(2, 6), time_us: number(6, 14) };
  };

  bench.onFrame(async (_now, metadata) => {
    const entry = { presented: metadata.presentationTime, count: metadata.presentedFrames, code: null };
    seen.push(entry);
    const luma = await bench.luma(rect);
    if (luma !== null) entry.code = read(luma);
  });
}

await main(async (browser) => {
  const page = await open(browser, url, watchCode, { width: Number(width), height: Number(height) });
  await page.waitForFunction(() => codes.some((entry) => entry.code !== null));
  if (sound === "sound") await page.evaluate(() => (document.querySelector("video").muted = false));
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  await lines.next();
  await page.evaluate(() => codes.splice(0));
  await lines.next();
  return page.evaluate(() => {
    // Both clocks of the page are the machine's; how far apart they are now is measured, not assumed.
    let drift = Infinity;
    for (let n = 0; n < 20000; n++) {
      drift = Math.min(drift, performance.timeOrigin + performance.now() - Date.now());
    }
    // A picture may be presented again, with more detail: what counts is when it was seen first.
    const known = new Set();
    const done = codes.filter(({ code }) => {
      const first = code !== null && !known.has(code.frame);
      if (first) known.add(code.frame);
      return first;
    });
    const latency = ({ presented, code }) => performance.timeOrigin + presented - code.time_us / 1000;
    return {
      latencies_ms: done.map(latency),
      frames: done.map(({ code }) => code.frame),
      unread: codes.filter(({ code }) => code === null).length,
      presented: codes.length === 0 ? 0 : codes.at(-1).count - codes[0].count + 1,
      longest_gap_ms: codes.slice(1).reduce((most, { presented }, n) => Math.max(most, presented - codes[n].presented), 0),
      clock_drift_ms: drift,
    };
  });
});
