// Chromium for the figures: starts it, opens viewer pages, and carries what the pages measure.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const frontend = fileURLToPath(new URL("../../../frontend/package.json", import.meta.url));
const { chromium } = createRequire(frontend)("playwright-core");

/** Flags that keep Chromium from doing anything but showing the page. */
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  // On a machine with no network but loopback these make it a candidate; elsewhere they change nothing.
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];

/** Runs `measure(browser)` and prints what it returns as JSON. */
export async function main(measure) {
  const executablePath = process.env.ORIEL_CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, headless: true, args: ARGS });
  try {
    const result = await measure(browser);
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await browser.close();
  }
}

/** A new page whose errors end the measurement. `init` runs in it before everything else. */
export async function open(browser, url, init, argument) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.on("pageerror", (error) => {
    process.stderr.write(`page: ${error.stack ?? error.message}\n`);
  });
  await page.addInitScript(installFrames);
  if (init !== undefined) await page.addInitScript(init, argument);
  await page.goto(url);
  return page;
}

/**
 * In the page: `bench.onFrame(callback)` calls back with the metadata of each presented frame of the first
 * video, and `bench.luma(x, y, width, height)` copies a part of the present one, which costs little, as
 * nothing else of it is converted.
 */
function installFrames() {
  const bench = { video: null, listeners: new Set(), ready: null };
  bench.onFrame = (callback) => {
    bench.listeners.add(callback);
    return () => bench.listeners.delete(callback);
  };
  bench.luma = async (rect) => {
    const frame = new VideoFrame(bench.video);
    try {
      if (rect.x + rect.width > frame.codedWidth || rect.y + rect.height > frame.codedHeight) return null;
      const pixels = new Uint8Array(frame.allocationSize({ rect }));
      const [{ stride }] = await frame.copyTo(pixels, { rect });
      return { pixels, stride, timestamp: frame.timestamp };
    } finally {
      frame.close();
    }
  };
  const attach = (video) => {
    bench.video = video;
    const next = (now, metadata) => {
      for (const listener of [...bench.listeners]) listener(now, metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  const look = () => {
    const video = document.querySelector("video");
    if (video !== null && bench.video === null) attach(video);
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
  globalThis.bench = bench;
}
