/** Pages that need a token, behind a real proxy and below a path of its; and who has control. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { advancing, launch, openPage, watch } from "./support/browser.js";
import { proxy } from "./support/nginx.js";
import { Server } from "./support/server.js";

const SECRET = "an-admin-secret-of-this-test";
const CONFIG = `
auth: {admin_secrets: [${SECRET}]}
http: {base_path: /oriel, trusted_proxies: [127.0.0.1]}
listen_ips: [127.0.0.1]
`;
const SOURCE = { type: "test", width: 320, height: 192, fps: 15, audio: false };

let server: Server;
let root: string;
let browser: Browser;

before(async () => {
  server = await Server.start(CONFIG);
  server.token = SECRET;
  await server.create("demo", SOURCE);
  root = await proxy(new URL(server.url));
  ({ browser } = await launch());
});

async function tokenFor(role: "viewer" | "controller"): Promise<string> {
  const { token } = await server.json<{ token: string }>("POST", "api/streamers/demo/tokens", { role });
  return token;
}

async function live(page: Page): Promise<void> {
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
}

test("a viewer's link works through a proxy below a path, and its token stays in no address", async () => {
  const token = await tokenFor("viewer");
  const page = await openPage(browser, `${root}/oriel/s/demo#token=${token}`);
  await live(page);
  await advancing(page, 5);
  assert.equal(page.url(), `${root}/oriel/s/demo`);
  assert.equal(await page.evaluate(() => window.oriel?.client.role), "viewer");
  const sockets = await page.evaluate(() => window.probe.sockets.map(({ url }) => url));
  assert.ok(sockets.every((url) => url.includes("/oriel/api/streamers/demo/peer") && !url.includes(token)));
  // It is kept for this tab.
  await page.reload();
  await live(page);
  await page.context().close();
});

test("a page without a token is told so, and a link of another streamer opens nothing", async () => {
  await server.create("other", SOURCE);
  const page = await openPage(browser, `${root}/oriel/s/demo`);
  await page.waitForSelector("[data-testid=ended][data-reason=refused]");
  await page.context().close();
  const { token } = await server.json<{ token: string }>("POST", "api/streamers/other/tokens", { role: "controller" });
  const stranger = await openPage(browser, `${root}/oriel/s/demo#token=${token}`);
  await stranger.waitForSelector("[data-testid=ended][data-reason=refused]");
  await stranger.context().close();
  await server.delete("other");
});

test("the list asks for the secret and shows the streamers with it", async () => {
  const page = await openPage(browser, `${root}/oriel/`);
  await page.waitForSelector("[data-testid=locked]");
  await page.fill("[data-testid=token]", SECRET);
  await page.click("button[type=submit]");
  await page.waitForSelector("[data-testid=streamers] >> text=demo");
  await page.context().close();
});

test("a session opened in a new tab, and a new tab of the list, ask nobody who has logged in beside them", async () => {
  const list = await openPage(browser, `${root}/oriel/`);
  const context = list.context();
  const asked: string[] = [];
  context.on("request", (request) => asked.push(request.url()));
  await list.fill("[data-testid=token]", SECRET);
  await list.click("button[type=submit]");
  const card = list.locator("[data-testid=streamer-demo] a").first();
  await card.waitFor();
  for (const how of [{ modifiers: ["Control" as const] }, { button: "middle" as const }]) {
    const [viewer] = await Promise.all([context.waitForEvent("page"), card.click(how)]);
    await viewer.bringToFront();
    await live(viewer);
    assert.equal(viewer.url(), `${root}/oriel/s/demo`);
    await viewer.close();
  }
  const fresh = await context.newPage();
  await fresh.goto(`${root}/oriel/`);
  await fresh.waitForSelector("[data-testid=streamer-demo]");
  // What it was given is its own, and what it gives others.
  await list.close();
  const heir = await context.newPage();
  await heir.goto(`${root}/oriel/s/demo`);
  await live(heir);
  assert.deepEqual(asked.filter((url) => url.includes(SECRET)), []);
  assert.ok(!(await heir.evaluate(() => JSON.stringify({ ...localStorage }))).includes(SECRET));
  await Promise.all([fresh.close(), heir.close()]);

  const stranger = await context.newPage();
  await stranger.goto(`${root}/oriel/`);
  await stranger.waitForSelector("[data-testid=locked]");
  await context.close();
});

test("a new tab gets neither what was not accepted, nor a guest's token, nor that of another path", async () => {
  const guest = await openPage(browser, `${root}/oriel/s/demo#token=${await tokenFor("controller")}`);
  await live(guest);
  const context = guest.context();
  const open = async (url: string): Promise<Page> => {
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
  const wrong = await open(`${root}/oriel/#token=not-the-secret`);
  await wrong.waitForSelector("[data-testid=locked] >> text=not accepted");
  const right = await open(`${root}/oriel/hosts`);
  await right.waitForSelector("[data-testid=locked] >> text=Whoever has the admin secret");
  await right.fill("[data-testid=token]", SECRET);
  await right.click("button[type=submit]");
  await right.waitForSelector("[data-testid=no-hosts]");
  const beside = await open(`${root}/oriel/`);
  await beside.waitForSelector("[data-testid=streamer-demo]");

  // Another server behind the same proxy.
  const other = await Server.start(`auth: {admin_secrets: [another-${SECRET}]}\n`);
  await context.route(`${root}/elsewhere/**`, async (route) => {
    const url = route.request().url().replace(`${root}/elsewhere/`, other.url);
    await route.fulfill({ response: await route.fetch({ url }) });
  });
  const elsewhere = await open(`${root}/elsewhere/`);
  await elsewhere.waitForSelector("[data-testid=locked] >> text=Whoever has the admin secret");
  await context.close();
});

test("what a proxy forwards to a server without a secret is refused", async () => {
  const open = await Server.start();
  await open.create("mine", SOURCE);
  const front = await proxy(new URL(open.url), "/open/");
  assert.equal((await open.request("GET", "api/streamers")).status, 200);
  const forwarded = await fetch(`${front}/open/api/streamers`);
  assert.equal(forwarded.status, 401);
  assert.match(await forwarded.text(), /ORIEL_ADMIN_SECRET/);
});

test("one at a time has control, and the pages show who", async () => {
  const token = await tokenFor("controller");
  const page = (): Promise<Page> => watch(browser, `${root}/oriel/`, `demo#token=${token}`);
  const [a, b] = [await page(), await page()];
  await server.json("PUT", "api/streamers/demo/control", { mode: "exclusive" });
  await a.click("[data-testid=control-take]");
  await a.waitForSelector("[data-testid=control][data-held=true]");
  await b.waitForSelector("[data-testid=control-request]");
  await b.click("[data-testid=control-request]");
  await a.click("[data-testid=control-grant]");
  await b.waitForSelector("[data-testid=control][data-held=true]");
  await a.click("[data-testid=control-take]");
  await b.waitForSelector("[data-testid=control][data-held=false]");
  await server.json("PUT", "api/streamers/demo/control", { mode: "shared" });
  for (const page of [a, b]) {
    await page.waitForSelector("[data-testid=control]", { state: "detached" });
    await page.context().close();
  }
});
