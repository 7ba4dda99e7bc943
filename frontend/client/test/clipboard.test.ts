import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ClipboardBridge } from "../src/input/clipboard";

/** The browser: what the viewer has copied, and whether the page has the focus. */
let viewer: { text: string; focused: boolean };
let sent: string[];
let bridge: ClipboardBridge;

beforeEach(() => {
  viewer = { text: "", focused: true };
  sent = [];
  bridge = new ClipboardBridge((text) => sent.push(text) > 0);
  vi.stubGlobal("document", { hasFocus: () => viewer.focused });
  vi.stubGlobal("navigator", {
    clipboard: {
      readText: () => Promise.resolve(viewer.text),
      writeText: (text: string) => Promise.resolve(void (viewer.text = text)),
    },
    permissions: { query: () => Promise.resolve({ state: "granted" }) },
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("the clipboard", () => {
  it("goes to the session when it has changed, and not again", async () => {
    viewer.text = "one";
    await bridge.giveIfAllowed();
    await bridge.giveIfAllowed();
    viewer.text = "two";
    await bridge.giveIfAllowed();
    expect(sent).toEqual(["one", "two"]);
  });

  it("of the session is not given back", async () => {
    expect(await bridge.take("of another viewer")).toBe(true);
    expect(viewer.text).toBe("of another viewer");
    await bridge.giveIfAllowed();
    expect(sent).toEqual([]);
  });

  it("of the session is not overwritten with an older text when the page gets the focus", async () => {
    viewer.text = "older";
    await bridge.giveIfAllowed();
    viewer.focused = false;
    expect(await bridge.take("newer")).toBe(false);
    viewer.focused = true;
    await bridge.giveIfAllowed();
    expect(sent).toEqual(["older"]);
    // Pasted, it is meant.
    bridge.pasted("older");
    expect(sent).toEqual(["older", "older"]);
  });
});
