// The components can be imported and rendered where there is no page.

import assert from "node:assert/strict";
import { CameraGrid, Desktop, StreamView } from "@oriel/react";
import { createElement } from "react";
import { renderToString } from "react-dom/server";

assert.equal(typeof globalThis.window, "undefined");
const server = "https://host/";
assert.match(renderToString(createElement(Desktop, { server, session: "mine" })), /aria-label="mine".*Connecting…/s);
assert.match(renderToString(createElement(StreamView, { server, stream: "door" })), /aria-label="door"/);
assert.match(renderToString(createElement(CameraGrid, { server, slots: ["door", "yard"] })), /data-stream="yard"/);
