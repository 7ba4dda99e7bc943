/** Every page in every state that a person meets, for tests that look at them and for `scripts/shots`. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { useTool } from "./browser.js";
import { Cluster, createAt, nodes, SHORT_LEASE_S, together } from "./cluster.js";
import { Server } from "./server.js";
import { until } from "./wait.js";

const SECRET = "a-secret-of-enough-length";
const TEST = { type: "test", width: 320, height: 180, fps: 10 };

export type Look = (name: string, page: Page) => Promise<void>;

/** Opens pages one after another and calls `look` in each of their states. */
export async function eachState(browser: Browser, look: Look): Promise<void> {
  const empty = await Server.start(`auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\n`);
  empty.token = SECRET;
  const full = await Server.start(`streams:
  door: {type: test, width: 320, height: 180, fps: 10}
  yard: {type: test, width: 320, height: 180, fps: 10}
`);
  await full.create("desk", { type: "desktop", width: 640, height: 360, audio: true, command: "sleep 1000" });
  await full.create("clock", TEST);
  const broken = { type: "desktop", width: 320, height: 180, audio: false, command: "echo it is broken >&2; exit 3" };
  await full.json("POST", "api/streamers", { id: "broken", source: broken, restart: { policy: "never" } });
  await until("it has failed", async () => (await full.streamer("broken")).state === "failed");

  const at = async (server: Server, path: string, ready: string, states: (page: Page) => Promise<void>): Promise<void> => {
    const context = await browser.newContext({ locale: "en-GB", permissions: ["camera", "microphone"] });
    const page = await context.newPage();
    await page.goto(new URL(path, server.url).href);
    await page.waitForSelector(ready, { timeout: 45_000 });
    await states(page);
    await context.close();
  };

  await lists(full, empty, at, look);
  await viewers(full, empty, at, look);
  await streams(full, at, look);
  await rooms(full, at, look);
  await cluster(full, at, look);
}

type At = (server: Server, path: string, ready: string, states: (page: Page) => Promise<void>) => Promise<void>;

async function lists(full: Server, empty: Server, at: At, look: Look): Promise<void> {
  const secret = `#token=${SECRET}`;
  await at(empty, secret, "[data-testid=empty]", (page) => look("list-empty", page));
  await at(empty, "", "[data-testid=locked]", (page) => look("list-stranger", page));
  await empty.create("shown", TEST);
  const { token } = await empty.json<{ token: string }>("POST", "api/streamers/shown/tokens", { role: "viewer" });
  await at(empty, `#token=${token}`, "[data-testid=to-session]", (page) => look("list-guest", page));
  await at(full, "", "[data-testid=streamer-broken]", async (page) => {
    await page.waitForSelector("[data-testid=streamer-desk] img");
    await look("list", page);
    await page.click("[data-testid=create]");
    await page.fill("[data-testid=field-id]", "not a name!");
    await page.click("[data-testid=submit]");
    await page.waitForSelector("[data-testid=create-dialog] .field-error");
    await look("list-create", page);
    await page.keyboard.press("Escape");
    await page.click("[data-testid=streamer-desk] [data-testid=delete]");
    await page.waitForSelector("[data-testid=confirm-dialog]");
    await look("list-delete", page);
  });
  await at(full, "hosts", "[data-testid=no-hosts]", async (page) => {
    await page.fill("[data-testid=host-address]", "http://");
    await page.click("[data-testid=add-host]");
    await page.waitForSelector("[data-testid=add-host-error]");
    await look("hosts", page);
  });
  await at(full, "rooms", "[data-testid=no-rooms]", (page) => look("rooms-empty", page));
  await at(full, "rooms", "[data-testid=create-room]", async (page) => {
    await page.click("[data-testid=create-room]");
    await page.click("[data-testid=submit]");
    await page.waitForSelector("[data-testid=new-room-dialog] .field-error");
    await look("rooms-create", page);
  });
}

async function viewers(full: Server, empty: Server, at: At, look: Look): Promise<void> {
  await at(full, "s/desk", "[data-testid=viewer][data-live=true]", async (page) => {
    // Else the keys of the page go to the session.
    await useTool(page, "watch-only");
    await useTool(page, "stats");
    await page.waitForSelector("[data-testid=stats] >> text=Picture");
    await look("viewer", page);
    await files(full, page, look);
    for (const panel of ["share", "clipboard", "view", "keys"]) {
      if (panel === "keys") await useTool(page, "watch-only");
      await useTool(page, panel);
      await page.waitForSelector(`[data-testid=${panel}-panel]`);
      await look(`viewer-${panel}`, page);
      await useTool(page, panel);
    }
    await page.focus("[data-testid=watchers]");
    await page.click("[data-testid=watchers]");
    await page.waitForSelector("[data-testid=people-panel] [data-testid=person]");
    await look("viewer-people", page);
    await page.click("[data-testid=watchers]");
    const { slot } = await full.json<{ slot: number }>("POST", "api/streamers/desk/slots", { source: TEST });
    await page.waitForSelector("[data-testid^=thumb-][data-status=active]");
    await look("viewer-several", page);
    await full.json("DELETE", `api/streamers/desk/slots/${String(slot)}`);
    await useTool(page, "invite");
    await page.waitForSelector("[data-testid=invite-dialog]");
    await look("viewer-invite", page);
    await page.click("[data-testid=invite-make]");
    await page.waitForSelector("[data-testid=qr]");
    await look("viewer-invited", page);
  });
  await at(full, "s/broken", "[data-testid=ended]", async (page) => {
    await page.click("[data-testid=show-log]");
    await page.waitForSelector("[data-testid=log]");
    await look("viewer-failed", page);
  });
  await at(full, "s/nosuch", "[data-testid=ended]", (page) => look("viewer-missing", page));
  await at(empty, "s/shown", "[data-testid=token]", (page) => look("viewer-stranger", page));
}

/** Files of the session: held over the page, offered, listed, and copied, or not. */
async function files(full: Server, page: Page, look: Look): Promise<void> {
  const home = join(full.dir, "state/homes/session/desk");
  const drag = (type: string): Promise<void> =>
    page.evaluate((type) => {
      const data = new DataTransfer();
      data.items.add(new File(["x"], "held.txt"));
      document.querySelector("[data-testid=viewer]")?.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }, type);
  await page.waitForSelector("[data-testid=tool-files]");
  await drag("dragover");
  // The hint's looks come with what offers downloads, which could miss one before.
  await page.waitForFunction(() => [...document.querySelectorAll(".drop-target")].some((hint) => getComputedStyle(hint).position === "absolute"));
  mkdirSync(join(home, "Downloads"), { recursive: true });
  const long = `${"a-name-that-is-longer-than-a-phone-is-wide-".repeat(3)}.txt`;
  writeFileSync(join(home, "Downloads", long), "a report");
  await page.waitForSelector("[data-testid=downloads]");
  await look("viewer-drop", page);
  await drag("dragleave");
  await page.click("[data-testid=downloads] .icon-button");
  await useTool(page, "files");
  for (const state of ["done", "failed"]) {
    await page.setInputFiles("[data-testid=files-picker]", { name: long, mimeType: "", buffer: Buffer.alloc(1500) });
    await page.waitForSelector(`[data-testid="transfer-${long}"][data-state=${state}]`);
  }
  await page.waitForSelector(`[data-testid="file-${long}"]`);
  await page.click("[data-testid=files-new-folder]");
  await page.waitForSelector("[data-testid=files-folder-name]");
  await look("viewer-files", page);
  await useTool(page, "files");
}

async function streams(full: Server, at: At, look: Look): Promise<void> {
  await at(full, "grid?streams=door,nosuch", "[data-testid=tile-1] >> text=There is no stream", (page) => look("grid", page));
  await at(full, "stream.html?src=door", "[data-testid=stream-view]", (page) => look("stream", page));
}

async function rooms(full: Server, at: At, look: Look): Promise<void> {
  const { id } = await full.json<{ id: string }>("POST", "api/rooms?wait=running", { name: "Stand-up" });
  await at(full, "rooms", "[data-testid=rooms] li", (page) => look("rooms", page));
  await at(full, `r/${id}`, "[data-testid=lobby]", async (page) => {
    await look("room-lobby", page);
    await page.fill("[data-testid=name]", "Ada");
    await page.click("[data-testid=join]");
    await page.waitForSelector("[data-testid=room][data-state=connected]", { timeout: 45_000 });
    await page.waitForSelector("[data-testid=tile]");
    await look("room", page);
    for (const panel of ["people", "chat", "devices"]) {
      await page.click(`[data-testid=bar-${panel}]`);
      await page.waitForSelector(`[data-testid=panel-${panel}]`);
      if (panel === "chat") {
        await page.fill("[data-testid=chat-text]", "Hello");
        await page.click("[data-testid=chat-send]");
        await page.waitForSelector("[data-testid=chat-message]");
      }
      await look(`room-${panel}`, page);
    }
    await page.click("[data-testid=leave]");
    await page.waitForSelector("[data-testid=ended]");
    await look("room-left", page);
  });
}

/** Several nodes: sessions of all of them, and how they are themselves. */
async function cluster(alone: Server, at: At, look: Look): Promise<void> {
  await at(alone, "nodes", "[data-testid=no-cluster]", (page) => look("nodes-none", page));
  // One node is lost in the end.
  const nats = await Cluster.start(SHORT_LEASE_S);
  const long = "rack-17-of-the-second-hall-with-a-name-that-is-long";
  const first = await nats.node("first", '{gpu: "yes", zone: "east"}');
  await at(first, "nodes", "[data-testid=only-node]", (page) => look("nodes-one", page));
  const [second, third] = await Promise.all([nats.node(long, '{zone: "west"}'), nats.node("third")]);
  await together(first, second, third);
  for (const [id, node] of [
    ["desk", "first"],
    ["clock", long],
    ["gone", "third"],
  ] as const) {
    await createAt(first, node, { id, source: TEST, restart: { policy: "never" } });
  }
  await first.json("POST", `api/nodes/${long}/drain`);
  await third.kill();
  await until("it is lost", async () => (await nodes(first)).some(({ name, state }) => name === "third" && state === "lost"));
  await at(first, "nodes", "[data-testid=node-third][data-state=lost]", async (page) => {
    await look("nodes", page);
    await page.click("[data-testid=node-first] [data-testid=drain]");
    await page.waitForSelector("[data-testid=confirm-dialog]");
    await look("nodes-drain", page);
    await page.keyboard.press("Escape");
    await page.route("**/api/nodes", (route) => route.abort());
    await page.waitForSelector("[data-testid=nodes-error]");
    await look("nodes-unreachable", page);
  });
  await at(first, "", "[data-testid=streamer-gone][data-state=lost]", async (page) => {
    await page.waitForSelector("[data-testid=streamer-clock] img");
    await look("list-cluster", page);
    await page.click("[data-testid=create]");
    await page.waitForSelector("[data-testid=field-node]");
    await look("list-create-cluster", page);
    await page.keyboard.press("Escape");
    await page.click("[data-testid=streamer-gone] [data-testid=move]");
    await page.selectOption("[data-testid=field-node]", "first");
    await look("list-move", page);
  });
}
