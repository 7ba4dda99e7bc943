/** Several machines as one, as a person at one of them sees it: sessions of other nodes, and the page of nodes. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "./support/browser.js";
import { Cluster, createAt, nodes, runsAt, SHORT_LEASE_S, together } from "./support/cluster.js";
import { faultsOf } from "./support/faults.js";
import { TELLS_ROLES } from "./support/semantics.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const TEST = { type: "test", width: 320, height: 180, fps: 10 };
/** More than a lease, and what passes until others and their pages notice. */
const LOST_MS = 60_000;

let a: Server;
let b: Server;
let c: Server;
let browser: Browser;

before(async () => {
  // One node is lost in the end.
  const cluster = await Cluster.start(SHORT_LEASE_S);
  [a, b, c] = await Promise.all([cluster.node("a"), cluster.node("b", '{gpu: "yes", zone: "east"}'), cluster.node("c")]);
  await together(a, b, c);
  for (const [id, policy] of [
    ["wanderer", "on-failure"],
    ["stays", "never"],
  ] as const) {
    await createAt(a, "b", { id, source: TEST, restart: { policy } });
  }
  ({ browser } = await launch([TELLS_ROLES]));
});

/** A page at node a. */
async function open(path: string): Promise<Page> {
  const page = await openPage(browser, new URL(path, a.url).href);
  page.on("pageerror", (error) => {
    throw error;
  });
  return page;
}

async function shows(page: Page, selector: string, text: string | RegExp, ms?: number): Promise<void> {
  const matches = (seen: string): boolean => (typeof text === "string" ? seen === text : text.test(seen));
  let seen = "";
  const read = async (): Promise<boolean> => matches((seen = (await page.locator(selector).allInnerTexts()).join()));
  await until(`${selector}: ${String(text)}`, read, ms).catch((cause: unknown) => {
    throw new Error(`${selector} is ${JSON.stringify(seen)}`, { cause });
  });
}

/** Names of the sessions that the list shows. */
async function listed(page: Page): Promise<string[]> {
  return page.locator("[data-testid=streamers] > li .card-title a").allInnerTexts();
}

async function looksWell(page: Page): Promise<void> {
  assert.deepEqual(await faultsOf(page), []);
}

test("the list has the sessions of all nodes, with their pictures, and those of one", async () => {
  const page = await open("");
  await shows(page, "[data-testid=streamer-wanderer] [data-testid=node]", "on b");
  // The list does not know who watches sessions of other nodes.
  assert.equal(await page.locator("[data-testid=streamer-wanderer] [data-testid=viewers]").count(), 0);
  await page.waitForSelector("[data-testid=streamer-wanderer] img");
  await page.selectOption("[data-testid=filter-node]", "c");
  await until("none at c", async () => (await listed(page)).length === 0);
  await page.selectOption("[data-testid=filter-node]", "b");
  await until("both at b", async () => (await listed(page)).join() === "stays,wanderer");
  await looksWell(page);
  await page.context().close();
});

test("a session is made at the node that is chosen", async () => {
  const page = await open("");
  await page.waitForSelector("[data-testid=to-nodes]");
  await page.click("[data-testid=create]");
  await page.locator("label:has(input[value=test])").click();
  await page.fill("[data-testid=field-id]", "chosen");
  const choices = await page.locator("[data-testid=field-node] option").allInnerTexts();
  assert.deepEqual(choices.map((text) => text.replace(/ \(.*/, "")), ["Wherever there is room", "a", "b", "c"]);
  await page.selectOption("[data-testid=field-node]", "c");
  await looksWell(page);
  await page.click("[data-testid=submit]");
  await shows(page, "[data-testid=streamer-chosen] [data-testid=node]", "on c");
  assert.equal((await c.json<{ node: string }>("GET", "api/streamers/chosen")).node, "c");
  await page.context().close();
});

test("a session is moved from its card, which says what is lost", async () => {
  const page = await open("");
  const card = page.locator("[data-testid=streamer-wanderer]");
  await card.locator("[data-testid=move]").click();
  const dialog = page.locator("[data-testid=move-dialog]");
  assert.match(await dialog.innerText(), /ends at b\. What its programs have in memory is lost, and so is its home/);
  assert.deepEqual(await dialog.locator("option").evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).value)), ["", "a", "c"]);
  await looksWell(page);
  // What has been chosen may take none by now: it stays chosen, and is refused.
  await page.selectOption("[data-testid=field-node]", "c");
  await c.json("POST", "api/nodes/c/drain");
  await until("a knows", async () => (await nodes(a)).some(({ name, state }) => name === "c" && state === "draining"));
  await page.click("[data-testid=confirm-move]");
  await shows(page, "[data-testid=move-error]", 'the node "c" is draining');
  await c.json("POST", "api/nodes/c/undrain");
  await until("a knows", async () => (await nodes(a)).every(({ state }) => state === "alive"));
  await page.click("[data-testid=confirm-move]");
  await dialog.waitFor({ state: "detached" });
  await shows(page, "[data-testid=streamer-wanderer] [data-testid=node]", "on c");
  await runsAt(a, "wanderer", "c");
  await page.waitForSelector("[data-testid=streamer-wanderer][data-state=running] img");
  await page.context().close();
});

test("a node is drained on the page of nodes, takes new ones again, and is seen to be lost; what it had is moved", async () => {
  const page = await open("");
  await page.click("[data-testid=to-nodes]");
  await shows(page, "[data-testid=nodes] h2", "a,b,c");
  assert.equal(await page.title(), "Nodes – Oriel");
  await shows(page, "[data-testid=this-node]", "has answered this page");
  assert.equal(await page.locator("[data-testid=node-a] [data-testid=this-node]").count(), 1);
  await shows(page, "[data-testid=node-b] .card-facts", /^http:\/\/127\.0\.0\.1:\d+\s*processors: \d+\s?%, memory: [\d.,]+\s\w+\s*version \S+\s*gpu=yes\s*zone=east$/);
  const meter = page.locator("[data-testid=node-b] [role=meter]");
  await until("b has one", async () => (await meter.getAttribute("aria-valuenow")) === "1");
  await looksWell(page);

  const state = async (): Promise<string | undefined> => (await nodes(b)).find(({ name }) => name === "b")?.state;
  for (const [action, after] of [
    ["drain", "draining"],
    ["undrain", "alive"],
    ["drain", "draining"],
  ] as const) {
    await page.click(`[data-testid=node-b] [data-testid=${action}]`);
    await page.waitForSelector("[data-testid=confirm-dialog]");
    if (action === "undrain") await looksWell(page);
    await page.click("[data-testid=confirm]");
    await page.waitForSelector(`[data-testid=node-b][data-state=${after}]`);
    assert.equal(await state(), after);
  }
  await shows(page, "[data-testid=node-b] [data-testid=node-meaning]", /takes no new sessions/);

  await b.kill();
  await page.waitForSelector("[data-testid=node-b][data-state=lost]", { timeout: LOST_MS });
  assert.equal(await page.locator("[data-testid=node-b] button").count(), 0);
  await looksWell(page);
  await page.click("[data-testid=node-b] [data-testid=node-sessions]");
  await page.waitForSelector("[data-testid=streamer-stays][data-state=lost]", { timeout: LOST_MS });
  assert.equal(await page.inputValue("[data-testid=filter-node]"), "b");
  await page.selectOption("[data-testid=filter-node]", "");
  await page.selectOption("[data-testid=filter-state]", "lost");
  await until("what is lost", async () => (await listed(page)).join() === "stays");
  await page.click("[data-testid=move]");
  assert.match(await page.innerText("[data-testid=move-dialog]"), /Its node b is lost/);
  await page.selectOption("[data-testid=field-node]", "a");
  await page.click("[data-testid=confirm-move]");
  await page.selectOption("[data-testid=filter-state]", "");
  await page.waitForSelector("[data-testid=streamer-stays][data-state=running]");
  await shows(page, "[data-testid=streamer-stays] [data-testid=node]", "on a");
  await page.context().close();
});

test("the page of nodes says when its server cannot be reached, and goes on when it can", async () => {
  const page = await open("nodes");
  await page.waitForSelector("[data-testid=node-a]");
  const port = new URL(a.url).port;
  await a.kill();
  await shows(page, "[data-testid=nodes-error]", /^The server cannot be reached\. Trying again/);
  await a.run(port);
  await page.waitForSelector("[data-testid=nodes-error]", { state: "detached" });
  await page.waitForSelector("[data-testid=node-a][data-state=alive]");
  await page.context().close();
});

test("a server alone has no nodes, and says so where somebody looks for them", async () => {
  const alone = await Server.start();
  await alone.create("here", TEST);
  const page = await openPage(browser, alone.url);
  await page.waitForSelector("[data-testid=streamer-here] img");
  for (const what of ["to-nodes", "filter-node", "move", "node"]) assert.equal(await page.locator(`[data-testid=${what}]`).count(), 0, what);
  assert.equal(await page.locator("[data-testid=filter-state] option[value=lost]").count(), 0);
  await page.goto(new URL("nodes", alone.url).href);
  await shows(page, "[data-testid=no-cluster]", /^This server is in no cluster\./);
  await looksWell(page);
  await page.context().close();
});
