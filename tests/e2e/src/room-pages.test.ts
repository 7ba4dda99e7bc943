/** The pages of rooms as people meet them: the list, the door, the room on a desk and on a phone. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch } from "./support/browser.js";
import { arranged } from "./support/layout.js";
import { assertTidy, FAKE_DEVICES, makeRoom, Person } from "./support/room.js";
import { Server } from "./support/server.js";
import { becomes, until } from "./support/wait.js";

const SECRET = "a-secret-of-enough-length";
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const PHONE_ON_ITS_SIDE = { viewport: { width: 844, height: 390 }, isMobile: true, hasTouch: true };

let server: Server;
let guarded: Server;
let browser: Browser;

before(async () => {
  server = await Server.start();
  guarded = await Server.start(
    `auth: {admin_secrets: [${SECRET}]}\nlisten_ips: [127.0.0.1]\nhttp: {allowed_hosts: [elsewhere.test]}\n`,
  );
  guarded.token = SECRET;
  // A name that is not of this computer: pages of it that come by http are given no devices.
  ({ browser } = await launch([...FAKE_DEVICES, "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"]));
});

async function tokenFor(id: string, rights: string[], name?: string): Promise<string> {
  const more = name === undefined ? {} : { display_name: name };
  const body = { role: "viewer", rights, ...more };
  const { token } = await guarded.json<{ token: string }>("POST", `api/streamers/${id}/tokens`, body);
  return token;
}

/** Waits until the tiles stand as they should: they move to their places. */
async function tidy(person: Person, page: { width: number; height: number }): Promise<void> {
  let wrong: unknown;
  await until("the tiles are in their places", async () => {
    try {
      assertTidy(await person.tiles(), page);
      return true;
    } catch (error) {
      wrong = error;
      return false;
    }
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${String(wrong)}`);
  });
}

/** What a person is told once from now on, as notices go after a while. */
function notice(person: Person, words: string): Promise<unknown> {
  return person.page.waitForFunction(
    (words) => document.querySelector("[data-testid=room-notice]")?.textContent?.includes(words),
    words,
  );
}

async function rooms(root: string, token?: string): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(new URL(`rooms${token === undefined ? "" : `#token=${token}`}`, root).href);
  return page;
}

test("rooms are made, entered and deleted in the list, and a room needs a name", async () => {
  const page = await rooms(server.url);
  await page.click("[data-testid=create-room]");
  await page.click("[data-testid=submit]");
  await page.waitForSelector("text=A room needs a name.");
  await page.fill("[data-testid=room-name]", "Weekly planning");
  await page.fill("[data-testid=room-most]", "5");
  await page.click("[data-testid=submit]");
  const card = page.locator("[data-testid=rooms] li", { hasText: "Weekly planning" });
  await card.waitFor();
  assert.equal(await card.locator("[data-testid=occupancy]").textContent(), "nobody in it, up to 5 can be");
  const href = (await card.locator("[data-testid=enter]").getAttribute("href")) ?? "";
  const id = decodeURIComponent(/r\/(.+)$/.exec(href)?.[1] ?? "");

  const ada = await Person.join(browser, server.url, id, "Ada", { devices: [] });
  await until("one of five is in", async () => (await card.locator("[data-testid=occupancy]").textContent()) === "1 of 5 in it");
  await card.locator("[data-testid=delete]").click();
  await page.waitForSelector("text=also for the 1 person in it");
  await page.click("[data-testid=confirm]");
  await card.waitFor({ state: "detached" });
  await ada.page.waitForSelector("[data-testid=ended][data-reason=stopped]");
  await Promise.all([page.context().close(), ada.close()]);
});

test("who may not see the rooms is told so in words", async () => {
  const id = await makeRoom(guarded, "Closed");
  const stranger = await rooms(guarded.url);
  assert.match((await stranger.textContent("[data-testid=locked]")) ?? "", /admin secret/);
  const guest = await rooms(guarded.url, await tokenFor(id, ["publish"]));
  assert.match((await guest.textContent("[data-testid=locked]")) ?? "", /Only administrators see the list of all rooms/);
  assert.match((await guest.getAttribute("[data-testid=to-session]", "href")) ?? "", new RegExp(`/r/${id}$`));
  const admin = await rooms(guarded.url, SECRET);
  await admin.waitForSelector(`[data-testid=room-${id}]`);
  await Promise.all([stranger, guest, admin].map((page) => page.context().close()));
});

test("before joining there are a preview, a level and the devices, and all of it may stay off", async () => {
  const id = await makeRoom(server, "Door");
  const page = await Person.atDoor(browser, server.url, id);
  await page.waitForSelector("h1 >> text=Door");
  assert.equal(await page.locator("[data-testid=preview]").count(), 0);
  await page.click("[data-testid=camera-switch]");
  await page.waitForFunction(() => (document.querySelector<HTMLVideoElement>("[data-testid=preview]")?.videoWidth ?? 0) > 0);
  await page.click("[data-testid=microphone-switch]");
  await page.waitForFunction(() => Number(document.querySelector("[data-testid=level]")?.getAttribute("aria-valuenow")) > 10);
  assert.ok((await page.locator("[data-testid=camera-choice] option").count()) > 1, "cameras can be chosen");
  await page.click("[data-testid=camera-switch]");
  await page.waitForSelector("[data-testid=preview]", { state: "detached" });
  await page.click("[data-testid=microphone-switch]");
  await page.fill("[data-testid=name]", "Ada");
  await page.click("[data-testid=join]");
  await page.waitForSelector("[data-testid=room][data-state=connected]");
  const ada = new Person(page, "Ada");
  await ada.meets("Ada");
  // The name is there the next time.
  await page.reload();
  assert.equal(await page.inputValue("[data-testid=name]"), "Ada");
  await ada.close();
});

test("a device that cannot be had is explained in words, and joining works without it", async () => {
  const id = await makeRoom(server, "No devices");
  const init = (): void => {
    navigator.mediaDevices.getUserMedia = (constraints) =>
      Promise.reject(new DOMException("x", constraints?.audio === undefined ? "NotReadableError" : "NotAllowedError"));
  };
  const page = await Person.atDoor(browser, server.url, id, { init });
  await page.click("[data-testid=camera-switch]");
  assert.match((await page.textContent("[data-testid=camera-error]")) ?? "", /another program may be using it/);
  await page.click("[data-testid=microphone-switch]");
  assert.match((await page.textContent("[data-testid=microphone-error]")) ?? "", /does not allow this page the microphone/);
  await page.click("[data-testid=join]");
  await page.waitForSelector("[data-testid=room][data-state=connected]");
  await page.context().close();
});

test("a page that came by http from elsewhere says that devices need https", async () => {
  const id = await makeRoom(guarded, "Insecure");
  const root = guarded.url.replace("127.0.0.1", "elsewhere.test");
  const page = await Person.atDoor(browser, root, id, { token: await tokenFor(id, ["publish"]) });
  assert.match((await page.textContent("[data-testid=insecure]")) ?? "", /https, or from localhost/);
  await page.click("[data-testid=camera-switch]");
  assert.match((await page.textContent("[data-testid=camera-error]")) ?? "", /https/);
  await page.context().close();
});

test("three people see and hear each other, and the place of one who leaves is free", async () => {
  const id = await makeRoom(server, "Three");
  const ada = await Person.join(browser, server.url, id, "Ada");
  const bob = await Person.join(browser, server.url, id, "Bob");
  await ada.meets("Ada", "Bob");
  const told = notice(ada, "Cyd has joined");
  const cyd = await Person.join(browser, server.url, id, "Cyd");
  await told;
  for (const person of [ada, bob, cyd]) await person.meets("Ada", "Bob", "Cyd");
  for (const [person, others] of [[ada, [bob, cyd]], [bob, [ada, cyd]], [cyd, [ada, bob]]] as const) {
    for (const { name } of others) {
      await person.sees(name);
      await person.hears(name);
    }
    await until("the own picture", async () => {
      const own = await person.tile(person.name);
      return own?.own === true && own.picture > 0;
    });
    assert.equal((await person.tiles()).at(-1)?.name, person.name, "oneself comes last");
  }

  await bob.page.click("[data-testid=bar-microphone]");
  await until("Ada is shown that Bob is muted", async () => (await ada.tile("Bob"))?.muted === true);
  assert.equal((await ada.tile("Cyd"))?.muted, false);
  assert.match((await ada.page.getAttribute('[data-testid=tile][data-name="Bob"]', "aria-label")) ?? "", /Bob, muted/);
  await bob.page.click("[data-testid=bar-microphone]");
  await until("Bob is heard again", async () => (await ada.tile("Bob"))?.muted === false);

  await bob.page.click("[data-testid=bar-camera]");
  await until("Bob's picture is gone", async () => (await ada.tile("Bob"))?.picture === 0);
  await bob.page.click("[data-testid=bar-camera]");
  await ada.sees("Bob");

  await bob.leave();
  for (const person of [ada, cyd]) await person.meets("Ada", "Cyd");
  // A tab that is closed says no goodbye that could be waited for.
  await cyd.close();
  await ada.meets("Ada");
  await bob.page.click("[data-testid=join-again]");
  await ada.meets("Ada", "Bob");
  await Promise.all([ada.close(), bob.close()]);
});

test("who shares nothing is in, is named, and sees the others", async () => {
  const id = await makeRoom(server, "Quiet");
  const ada = await Person.join(browser, server.url, id, "Ada");
  const bob = await Person.join(browser, server.url, id, "Bob", { devices: [] });
  await bob.sees("Ada");
  await ada.meets("Ada", "Bob");
  await until("Bob is muted, without a picture", async () => {
    const tile = await ada.tile("Bob");
    return tile?.picture === 0 && tile.muted;
  });
  await ada.page.click("[data-testid=bar-people]");
  const people = ada.page.locator("[data-testid=people] li");
  assert.deepEqual((await people.locator(".person-name").allTextContents()).sort(), ["Ada (you)", "Bob"]);
  await Promise.all([ada.close(), bob.close()]);
});

test("what is written is counted until it is read, and found by who comes later", async () => {
  const id = await makeRoom(server, "Chat");
  const ada = await Person.join(browser, server.url, id, "Ada", { devices: [] });
  const bob = await Person.join(browser, server.url, id, "Bob", { devices: [] });
  await ada.write("Hello <b>Bob</b>");
  await ada.write("Are you there?");
  await until("two are unread", async () => (await bob.page.locator("[data-testid=unread]").allTextContents()).join() === "2");
  assert.equal(await bob.page.getAttribute("[data-testid=bar-chat]", "aria-label"), "Chat, 2 unread");
  await bob.page.click("[data-testid=bar-chat]");
  await until("both are there", async () => (await bob.written()).length === 2);
  assert.deepEqual(await bob.written(), ["Ada: Hello <b>Bob</b>", "Ada: Are you there?"]);
  await until("nothing is unread", async () => (await bob.page.locator("[data-testid=unread]").count()) === 0);
  await bob.write("Yes 👋");
  await until("Ada reads it", async () => (await ada.written()).at(-1) === "Bob: Yes 👋");

  const cyd = await Person.join(browser, server.url, id, "Cyd", { devices: [] });
  assert.equal(await cyd.page.locator("[data-testid=unread]").count(), 0, "history is no news");
  await cyd.page.click("[data-testid=bar-chat]");
  await until("what was written before", async () => (await cyd.written()).length === 3);
  await Promise.all([ada, bob, cyd].map((person) => person.close()));
});

test("hands are raised and reactions shown, to everybody", async () => {
  const id = await makeRoom(server, "Signs");
  const ada = await Person.join(browser, server.url, id, "Ada", { devices: [] });
  const bob = await Person.join(browser, server.url, id, "Bob", { devices: [] });
  const said = notice(ada, "Bob has raised a hand");
  await bob.page.click("[data-testid=bar-hand]");
  await ada.page.waitForSelector('[data-testid=tile][aria-label*="Bob"][aria-label*="hand raised"]');
  await said;
  const seen = bob.page.waitForSelector('[data-testid=tile][data-name="Ada"] [data-testid=reaction]:has-text("👏")');
  await ada.page.click("[data-testid=bar-react]");
  await ada.page.click('[data-testid=reactions] >> text="👏"');
  await seen;
  await Promise.all([ada.close(), bob.close()]);
});

test("a screen stands large beside the people, and what is pinned does", async () => {
  const id = await makeRoom(server, "Screen");
  const ada = await Person.join(browser, server.url, id, "Ada");
  const init = (): void => {
    // The browser has no screen here; a canvas that changes does as well.
    navigator.mediaDevices.getDisplayMedia = () => {
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width: 1280, height: 720 });
      const context = canvas.getContext("2d");
      setInterval(() => {
        if (context === null) return;
        context.fillStyle = `hsl(${String(performance.now() / 20)} 50% 50%)`;
        context.fillRect(0, 0, canvas.width, canvas.height);
      }, 50);
      return Promise.resolve(canvas.captureStream(20));
    };
  };
  const bob = await Person.join(browser, server.url, id, "Bob", { init });
  await ada.sees("Bob");
  await bob.page.click("[data-testid=bar-screen]");
  await ada.sees("Screen of Bob");
  const area = ({ width, height }: { width: number; height: number }): number => width * height;
  const large = async (): Promise<string | undefined> =>
    (await ada.tiles()).sort((a, b) => area(b) - area(a))[0]?.name;
  await until("the screen is large", async () => (await large()) === "Screen of Bob");
  await tidy(ada, { width: 1280, height: 800 });
  await ada.page.focus('[data-testid=tile][data-name="Bob"] [data-testid=pin]');
  await ada.page.keyboard.press("Enter");
  await until("Bob is large", async () => (await large()) === "Bob");
  await ada.sees("Screen of Bob");
  await ada.page.keyboard.press("Enter");
  await until("the screen is large again", async () => (await large()) === "Screen of Bob");
  await bob.page.click("[data-testid=bar-screen]");
  await ada.meets("Ada", "Bob");
  await Promise.all([ada.close(), bob.close()]);
});

test("a moderator mutes and removes, and others cannot", async () => {
  const id = await makeRoom(guarded, "Order");
  const join = async (name: string, rights: string[]): Promise<Person> =>
    Person.join(browser, guarded.url, id, "", { token: await tokenFor(id, rights, name) });
  const ada = await join("Ada", ["publish", "chat", "moderate"]);
  const bob = await join("Bob", ["publish", "chat"]);
  await ada.meets("Ada", "Bob");
  await bob.page.click("[data-testid=bar-people]");
  await bob.page.waitForSelector('[data-testid=person][data-name="Ada"]');
  assert.equal(await bob.page.locator("[data-testid=remove]").count(), 0);
  await ada.page.click("[data-testid=bar-people]");
  const person = ada.page.locator('[data-testid=person][data-name="Bob"]');
  await person.locator("[data-testid=stop-microphone]").click();
  await bob.page.waitForSelector("text=Ada has muted you.");
  await until("Bob is muted for all", async () => (await ada.tile("Bob"))?.muted === true);
  await person.locator("[data-testid=remove]").click();
  await ada.page.click("[data-testid=confirm]");
  await bob.page.waitForSelector("[data-testid=ended][data-reason=refused]");
  assert.match((await bob.page.textContent("main")) ?? "", /You have been removed/);
  await ada.meets("Ada");
  await Promise.all([ada.close(), bob.close()]);
});

test("who may only watch is told so, and a full room says that it is full", async () => {
  const id = await makeRoom(guarded, "Small", { max_participants: 2 });
  const ada = await Person.join(browser, guarded.url, id, "", { token: await tokenFor(id, ["publish"], "Ada") });
  const token = await tokenFor(id, []);
  const watcher = await Person.join(browser, guarded.url, id, "Wim", { token, devices: [] });
  await watcher.sees("Ada");
  assert.match((await watcher.page.textContent("[data-testid=watches-only]")) ?? "", /lets you watch/);
  assert.equal(await watcher.page.locator("[data-testid=bar-camera]").count(), 0);
  await watcher.page.click("[data-testid=bar-chat]");
  await watcher.page.waitForSelector("text=Your link does not let you write here.");
  const late = await Person.atDoor(browser, guarded.url, id, { token });
  await late.click("[data-testid=join]");
  await late.waitForSelector("h1 >> text=Small is full");
  await watcher.leave();
  // The page has left before the room has heard of it.
  await until("there is a place", async () => (await guarded.json<{ participants: number }>("GET", `api/rooms/${id}`)).participants === 1);
  await late.click("[data-testid=join-again]");
  await late.waitForSelector("[data-testid=room][data-state=connected]");
  await Promise.all([ada.close(), watcher.close(), late.context().close()]);
});

test("a room fits a phone, upright and on its side", async () => {
  const id = await makeRoom(server, "A room with quite a long name, for a small page");
  const ada = await Person.join(browser, server.url, id, "Ada");
  for (const context of [PHONE, PHONE_ON_ITS_SIDE]) {
    const door = await Person.atDoor(browser, server.url, id, { context });
    await becomes("the door is arranged", () => arranged(door), []);
    await door.context().close();
    const bob = await Person.join(browser, server.url, id, "Bob", { context });
    await bob.sees("Ada");
    await tidy(bob, context.viewport);
    await becomes("the room is arranged", () => arranged(bob.page), []);
    for (const panel of ["chat", "people", "devices"]) {
      await bob.page.click(`[data-testid=bar-${panel}]`);
      await bob.page.waitForSelector(`[data-testid=panel-${panel}]`);
      // It slides in, which a busy browser takes its time for.
      await becomes(`${panel} is arranged`, () => arranged(bob.page), []);
      await until(`${panel} leaves the bar free`, async () => {
        const bar = await bob.page.locator("[data-testid=bar]").boundingBox();
        const box = await bob.page.locator(`[data-testid=panel-${panel}]`).boundingBox();
        return bar !== null && box !== null && box.y + box.height <= bar.y + 1;
      });
    }
    await bob.close();
    await ada.meets("Ada");
  }
  await ada.close();
});

test("a room is joined, used and left by keys alone", async () => {
  const id = await makeRoom(server, "Keys");
  const page = await Person.atDoor(browser, server.url, id);
  const press = async (key: string): Promise<void> => page.keyboard.press(key);
  const focused = (): Promise<string> =>
    page.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? "");
  const tabTo = async (testId: string): Promise<void> => {
    await page.waitForSelector(`[data-testid=${testId}]`);
    for (let step = 0; step < 30 && (await focused()) !== testId; step++) await press("Tab");
    assert.equal(await focused(), testId);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle);
    assert.notEqual(outline, "none", `the focus on ${testId} is visible`);
  };
  await tabTo("name");
  await page.keyboard.type("Ada");
  await tabTo("camera-switch");
  await press("Space");
  await page.waitForSelector("[data-testid=camera-switch][aria-checked=true]");
  await tabTo("join");
  await press("Enter");
  await page.waitForSelector("[data-testid=room][data-state=connected]");
  await tabTo("bar-chat");
  await press("Enter");
  await tabTo("chat-text");
  await page.keyboard.type("Hello");
  await press("Enter");
  await page.waitForSelector("[data-testid=chat-message]");
  await press("Escape");
  await page.waitForSelector("[data-testid=panel-chat]", { state: "detached" });
  await tabTo("leave");
  await press("Enter");
  await page.waitForSelector("[data-testid=ended][data-reason=left]");
  await page.context().close();
});
