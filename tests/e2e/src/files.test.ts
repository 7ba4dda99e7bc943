/** Files of a session on its page: dropped, chosen, saved, cancelled; what a program downloads; a phone; who may not. */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Browser, Download, Page } from "playwright-core";
import { launch, openPage, watch } from "./support/browser.js";
import { arranged } from "./support/layout.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const SECRET = "an-admin-secret-of-this-test";

let server: Server;
let browser: Browser;
let home: string;

before(async () => {
  server = await Server.start(`auth: {admin_secrets: [${SECRET}]}`);
  server.token = SECRET;
  await server.create("desk", { type: "desktop", width: 640, height: 360, command: ["sleep", "1000"] });
  home = join(server.dir, "state/homes/session/desk");
  ({ browser } = await launch());
});

async function token(role: string): Promise<string> {
  const made = await server.json<{ token: string }>("POST", "api/streamers/desk/tokens", { role, expires_in_s: 600 });
  return made.token;
}

function transfer(page: Page, name: string, state: string): Promise<unknown> {
  return page.waitForSelector(`[data-testid="transfer-${name}"][data-state=${state}]`, { timeout: 45_000 });
}

/** Drops a file of this text onto the picture, as a browser tells it. */
async function drop(page: Page, name: string, text: string): Promise<void> {
  await page.evaluate(
    ([name, text]) => {
      const data = new DataTransfer();
      data.items.add(new File([text ?? ""], name ?? ""));
      const target = document.querySelector("[data-testid=viewer]");
      for (const type of ["dragover", "drop"]) {
        target?.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
      }
    },
    [name, text],
  );
}

/** What the browser has saved. */
async function content(download: Promise<Download>): Promise<Buffer> {
  const path = join(server.dir, "saved");
  await (await download).saveAs(path);
  return readFileSync(path);
}

test("files are dropped, chosen, saved, replaced and cancelled, by mouse and by keyboard", async () => {
  const page = await watch(browser, server.url, `desk#token=${await token("controller")}`);
  await page.getByTestId("tool-files").click();
  await page.getByTestId("files-list").waitFor({ state: "attached" });

  // By keyboard: a folder, and into it.
  await page.getByTestId("files-new-folder").focus();
  await page.keyboard.press("Enter");
  await page.getByTestId("files-folder-name").waitFor();
  await page.keyboard.type("Über uns");
  await page.keyboard.press("Enter");
  await until("the folder is made", () => existsSync(join(home, "Über uns")));
  const folder = page.getByRole("button", { name: "Über uns", exact: true });
  await folder.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("navigation", { name: "Directory" }).getByText("Über uns").waitFor();

  // A drop goes to the directory that is shown.
  await drop(page, "note.txt", "dropped");
  await transfer(page, "note.txt", "done");
  assert.equal(readFileSync(join(home, "Über uns/note.txt"), "utf8"), "dropped");
  await page.getByTestId("file-note.txt").waitFor();

  // A large one comes in parts, also when the connection breaks after the first.
  const large = Buffer.alloc(9 * 1024 * 1024, "oriel");
  let broken = 0;
  await page.route("**/large.bin", async (route) => {
    const range = route.request().headers()["content-range"] ?? "";
    if (range.startsWith("bytes 4194304-") && broken === 0) {
      broken += 1;
      await route.abort("connectionreset");
    } else {
      await route.continue();
    }
  });
  await page.getByTestId("files-picker").setInputFiles({ name: "large.bin", mimeType: "", buffer: large });
  await transfer(page, "large.bin", "done");
  assert.equal(broken, 1);
  assert.ok(readFileSync(join(home, "Über uns/large.bin")).equals(large));
  assert.ok(!existsSync(join(home, ".oriel-uploads")), "nothing is left of its parts");

  // One that is cancelled is no file.
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route("**/slow.bin", async (route) => {
    await held;
    await route.continue().catch(() => undefined);
  });
  await page.getByTestId("files-picker").setInputFiles({ name: "slow.bin", mimeType: "", buffer: Buffer.from("slow") });
  await transfer(page, "slow.bin", "running");
  await page.getByRole("button", { name: "Cancel slow.bin" }).click();
  await transfer(page, "slow.bin", "cancelled");
  release();

  // Nothing is replaced without being told to.
  await drop(page, "note.txt", "again");
  await transfer(page, "note.txt", "failed");
  assert.equal(readFileSync(join(home, "Über uns/note.txt"), "utf8"), "dropped");
  await page.getByRole("button", { name: "Replace" }).click();
  await until("it is replaced", () => readFileSync(join(home, "Über uns/note.txt"), "utf8") === "again");
  assert.ok(!existsSync(join(home, "Über uns/slow.bin")));

  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download note.txt" }).click();
  assert.equal((await content(saved)).toString(), "again");
  await page.getByTestId("files-home").click();
  const archive = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download Über uns as an archive" }).click();
  assert.equal((await archive).suggestedFilename(), "Über uns.zip");
  assert.equal((await content(archive)).subarray(0, 2).toString(), "PK");

  await page.getByRole("button", { name: "Delete Über uns" }).click();
  await page.getByTestId("confirm").click();
  await until("it is gone", () => !existsSync(join(home, "Über uns")));
  await page.getByTestId("file-Über uns").waitFor({ state: "detached" });
  await page.context().close();
});

test("what a program downloads is offered, and what is dropped here is not; on a phone, too", async () => {
  const page = await watch(browser, server.url, `desk#token=${await token("controller")}`);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByTestId("tool-files").waitFor({ state: "attached" });
  // As a browser does it.
  mkdirSync(join(home, "Downloads"));
  writeFileSync(join(home, "Downloads/report.pdf.crdownload"), "a report");
  renameSync(join(home, "Downloads/report.pdf.crdownload"), join(home, "Downloads/report.pdf"));
  const offer = page.getByTestId("downloads");
  await offer.getByText("report.pdf").waitFor();
  assert.deepEqual(await arranged(page), []);
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save report.pdf", exact: true }).click();
  assert.equal((await content(saved)).toString(), "a report");
  await transfer(page, "report.pdf", "done");
  await offer.waitFor({ state: "detached" });

  // The panel is open now, and fits.
  await page.getByRole("button", { name: "Downloads", exact: true }).click();
  await page.getByTestId("file-report.pdf").waitFor();
  assert.deepEqual(await arranged(page), []);
  await drop(page, "mine.txt", "mine");
  await transfer(page, "mine.txt", "done");
  // One that comes later is offered first: the other would have been by then.
  writeFileSync(join(home, "Downloads/later.txt"), "later");
  await offer.getByText("later.txt").waitFor();
  assert.equal(await offer.getByText("mine.txt").count(), 0);
  await page.context().close();
});

test("who only watches has no files, and a drop does not leave the session", async () => {
  const page = await openPage(browser, new URL(`s/desk#token=${await token("viewer")}`, server.url).href);
  await page.waitForSelector("[data-testid=viewer][data-live=true]", { timeout: 45_000 });
  assert.equal(await page.getByTestId("tool-files").count(), 0);
  await drop(page, "theirs.txt", "x");
  writeFileSync(join(home, "Downloads/hidden.txt"), "not for viewers");
  const watcher = await watch(browser, server.url, `desk#token=${await token("controller")}`);
  await watcher.getByTestId("tool-files").waitFor({ state: "attached" });
  writeFileSync(join(home, "Downloads/shown.txt"), "for controllers");
  await watcher.getByTestId("downloads").getByText("shown.txt").waitFor();
  assert.equal(await page.getByTestId("downloads").count(), 0);
  assert.ok(!existsSync(join(home, "theirs.txt")));
  assert.ok(page.url().includes("/s/desk"));
});
