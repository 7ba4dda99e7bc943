/** Real Chromium, and pages that watch a streamer. */

import { type Browser, chromium, type Page } from "playwright-core";
import { cleanUp } from "./cleanup.js";
import { type Frame, installProbe } from "./probe.js";
import { until } from "./wait.js";

const LAUNCH = {
  executablePath: process.env["ORIEL_CHROMIUM"] ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A machine without a network has nothing but loopback.
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
  ],
};

/** More than the first picture and the focus take on a machine that is very busy. */
const LIVE_MS = 60_000;

/** A browser process of its own, with further arguments. */
export async function launch(args: string[] = []): Promise<{ browser: Browser; kill: () => void }> {
  const options = { ...LAUNCH, args: [...LAUNCH.args, ...args] };
  const server = await chromium.launchServer({ ...options, handleSIGINT: false, handleSIGTERM: false });
  cleanUp(() => server.kill());
  const pid = server.process().pid;
  if (pid === undefined) throw new Error("the browser has no process");
  const browser = await chromium.connect(server.wsEndpoint());
  return {
    browser,
    kill: () => {
      process.kill(pid, "SIGKILL");
    },
  };
}

/** A page in a profile of its own. */
export async function openPage(browser: Browser, url: string, permissions: string[] = []): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 800, height: 500 }, permissions });
  context.setDefaultTimeout(LIVE_MS);
  await context.addInitScript(installProbe);
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    console.error("in the page:", error.message);
  });
  await page.goto(url);
  return page;
}

/** Waits until a page shows the live picture and takes input. */
export async function live(page: Page): Promise<void> {
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: LIVE_MS });
  await page.waitForFunction(() => document.activeElement?.tagName === "TEXTAREA", undefined, { timeout: LIVE_MS });
}

/** A page that watches, once it shows the live picture and takes input. */
export async function watch(browser: Browser, root: string, id: string, permissions?: string[]): Promise<Page> {
  const page = await openPage(browser, new URL(`s/${id}`, root).href, permissions);
  await live(page);
  return page;
}

/** Waits until the signalling of a page is there again. */
export async function resumed(page: Page): Promise<void> {
  await until("the page has resumed", () => page.evaluate(() => window.oriel?.client.state.kind === "connected"));
}

export async function frames(page: Page): Promise<Frame[]> {
  return page.evaluate(() => window.probe.frames);
}

/** Reads no numbers from pictures from now on, which takes the processor from what is measured. */
export async function readNothing(page: Page): Promise<void> {
  await page.evaluate(() => {
    window.probe.decode = false;
  });
}

/** Forgets the frames seen so far, so that the next ones are from now on. */
export async function forgetFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    window.probe.frames = [];
  });
}

/** Waits for `count` further presented pictures, whose numbers all differ and grow; returns the numbers. */
export async function advancing(page: Page, count: number, ms?: number): Promise<number[]> {
  await forgetFrames(page);
  return until(
    `${String(count)} new pictures`,
    async () => {
      const codes = (await frames(page)).flatMap(({ code }) => (code === null ? [] : [code]));
      const grow = codes.filter((code, i) => i === 0 || code > (codes[i - 1] ?? 0));
      return grow.length >= count && grow;
    },
    ms,
  );
}

export type Inbound = {
  kind: string;
  framesDecoded: number;
  framesDropped: number;
  framesReceived: number;
  packetsLost: number;
  packetsReceived: number;
  totalAudioEnergy: number;
};

/** The counters of what the newest connection of the page receives. */
export async function inbound(page: Page, kind: "video" | "audio"): Promise<Inbound> {
  return until(`${kind} in getStats()`, () =>
    page.evaluate(async (kind) => {
      const report = await window.probe.connections.at(-1)?.getStats();
      const all = [...((report as unknown as Map<string, Inbound & { type: string }> | undefined)?.values() ?? [])];
      return all
        .filter((entry) => entry.type === "inbound-rtp" && entry.kind === kind)
        .sort((a, b) => b.packetsReceived - a.packetsReceived)[0];
    }, kind),
  );
}

type Candidate = Readonly<Record<string, unknown>>;

/** Both ends of the pair of candidates that the newest connection of the page has chosen, as `getStats()` tells of them. */
export async function selectedPair(page: Page): Promise<{ local: Candidate; remote: Candidate } | undefined> {
  return page.evaluate(async () => {
    const report = await window.probe.connections.at(-1)?.getStats();
    const all = new Map(report as unknown as Map<string, Record<string, unknown>>);
    const transport = [...all.values()].find(({ type }) => type === "transport");
    const pair = all.get(String(transport?.["selectedCandidatePairId"]));
    const local = all.get(String(pair?.["localCandidateId"]));
    const remote = all.get(String(pair?.["remoteCandidateId"]));
    return local === undefined || remote === undefined ? undefined : { local, remote };
  });
}

/** Clicks a tool of the viewer's toolbar, which slides away while it is not needed. */
export async function useTool(page: Page, tool: string): Promise<void> {
  await page.focus(`[data-testid=tool-${tool}]`);
  await page.click(`[data-testid=tool-${tool}]`);
}
