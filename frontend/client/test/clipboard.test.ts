import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { KeysMessage } from "../src";
import { ClipboardBridge, type ClipboardCopy } from "../src/input/clipboard";

/** The browser: what the viewer has copied, and whether the page has the focus. */
let viewer: { text: string; items: Record<string, Blob | Promise<Blob>>; focused: boolean };
let sent: KeysMessage[];
/** The channel takes no more. */
let closed: boolean;
let bridge: ClipboardBridge;

const picture = new Blob([new Uint8Array(100_000).map((_, n) => n)], { type: "image/png" });

beforeEach(() => {
  viewer = { text: "", items: {}, focused: true };
  sent = [];
  closed = false;
  bridge = new ClipboardBridge({
    send: (message) => sent.push(message) > 0,
    drained: () => Promise.resolve(!closed),
    picture: () => Promise.resolve(picture),
  });
  vi.stubGlobal("document", { hasFocus: () => viewer.focused });
  vi.stubGlobal(
    "ClipboardItem",
    class {
      readonly items: Record<string, Blob | Promise<Blob>>;
      constructor(items: Record<string, Blob | Promise<Blob>>) {
        this.items = items;
      }
    },
  );
  vi.stubGlobal("navigator", {
    clipboard: {
      readText: () => Promise.resolve(viewer.text),
      writeText: (text: string) => Promise.resolve(void (viewer.text = text)),
      write: ([item]: { items: typeof viewer.items }[]) => Promise.resolve(void (viewer.items = item?.items ?? {})),
    },
    permissions: { query: () => Promise.resolve({ state: "granted" }) },
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function plain(text: string): ClipboardCopy {
  return { text, html: null, types: ["text/plain"] };
}

function texts(): (string | null)[] {
  return sent.map((message) => (message.type === "clipboard" ? message.text : null));
}

describe("the clipboard", () => {
  it("goes to the session when it has changed, and not again", async () => {
    viewer.text = "one";
    await bridge.giveIfAllowed();
    await bridge.giveIfAllowed();
    viewer.text = "two";
    await bridge.giveIfAllowed();
    expect(texts()).toEqual(["one", "two"]);
  });

  it("of the session is not given back", async () => {
    expect(await bridge.take(plain("of another viewer"))).toBe(true);
    expect(viewer.text).toBe("of another viewer");
    await bridge.giveIfAllowed();
    expect(sent).toEqual([]);
  });

  it("of the session is not overwritten with an older text when the page gets the focus", async () => {
    viewer.text = "older";
    await bridge.giveIfAllowed();
    viewer.focused = false;
    expect(await bridge.take(plain("newer"))).toBe(false);
    viewer.focused = true;
    await bridge.giveIfAllowed();
    expect(texts()).toEqual(["older"]);
    // Pasted, it is meant.
    void bridge.pasted({ text: "older", html: null, picture: null });
    expect(texts()).toEqual(["older", "older"]);
  });

  it("of the session replaces what was copied elsewhere when the same is copied again", async () => {
    await bridge.take(plain("foo"));
    viewer.text = "bar";
    await bridge.take(plain("foo"));
    expect(viewer.text).toBe("foo");
  });

  it("carries the layout of a text, unless that is too long", async () => {
    void bridge.pasted({ text: "bold", html: "<b>bold</b>", picture: null });
    void bridge.pasted({ text: "long", html: "x".repeat(128 * 1024 + 1), picture: null });
    // Each is short enough, and the message of both is not.
    void bridge.pasted({ text: "\n".repeat(70_000), html: '"'.repeat(70_000), picture: null });
    expect(sent).toEqual([
      { type: "clipboard", text: "bold", html: "<b>bold</b>" },
      { type: "clipboard", text: "long" },
      { type: "clipboard", text: "\n".repeat(70_000) },
    ]);
    await bridge.take({ text: "bold", html: "<b>bold</b>", types: ["text/plain", "text/html"] });
    const html = await viewer.items["text/html"];
    expect([Object.keys(viewer.items), await html?.text()]).toEqual([["text/plain", "text/html"], "<b>bold</b>"]);
  });

  it("carries a picture to the session in parts", async () => {
    await bridge.pasted({ text: "", html: "<img>", picture });
    const parts = sent.map((message) => {
      if (message.type !== "clipboard-picture") throw new Error(message.type);
      return message;
    });
    expect(parts.map(({ at, last }) => [at, last])).toEqual([[0, false], [49152, false], [98304, true]]);
    const all = parts.map((part) => atob(part.data)).join("");
    const bytes = new Uint8Array(await picture.arrayBuffer());
    expect(all).toBe(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    const long = new Blob([new Uint8Array(4 * 1024 * 1024 + 1)]);
    expect(await bridge.givePicture(long)).toEqual({ kind: "too-long", bytes: 4 * 1024 * 1024 + 1 });
    closed = true;
    expect(await bridge.givePicture(picture)).toEqual({ kind: "unchanged" });
  });

  it("of a text with a picture of it is the text", () => {
    expect(bridge.pasted({ text: "cells", html: null, picture })).toBe(null);
    expect(texts()).toEqual(["cells"]);
  });

  it("takes a picture of the session when there is no text", async () => {
    expect(await bridge.take({ text: "", html: null, types: ["image/png"] })).toBe(true);
    expect(await viewer.items["image/png"]).toBe(picture);
    await bridge.take({ text: "cells", html: null, types: ["text/plain", "image/png"] });
    expect(viewer.text).toBe("cells");
  });
});
