// A host that was never seen → first frame presented: the host is added, and then, on the clock, paired, asked for its app and
// watched in a new page of a warm browser.
//
//   node moonlight.mjs ROOT HOST_HTTP_PORT HOST_API_PORT COUNT

import { main, open } from "./lib.mjs";

const [root, httpPort, apiPort, count] = [process.argv[2], ...process.argv.slice(3).map(Number)];

async function ask(method, path, body) {
  const url = new URL(path, root);
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

const tell = (path, body) => ask("POST", `http://127.0.0.1:${apiPort}${path}`, body);

async function pair(host) {
  const { pin } = await ask("POST", `/api/hosts/${host}/pair`);
  await tell("/pin", { pin });
  for (;;) {
    const { pairing } = await ask("GET", `/api/hosts/${host}`);
    if (pairing.state === "paired") return;
    if (pairing.state === "failed") throw new Error(pairing.error);
  }
}

/** In the page. */
function watchFirst() {
  globalThis.presented = new Promise((resolve) => bench.onFrame(resolve));
}

async function once(browser) {
  const { id: host } = await ask("POST", "/api/hosts", { address: "127.0.0.1", http_port: httpPort });
  const began = performance.now();
  await pair(host);
  const paired = performance.now();
  const source = { type: "moonlight", host_id: host, app: "Desktop", width: 1280, height: 720, fps: 60 };
  const { id } = await ask("POST", "/api/streamers?wait=running", { source });
  const running = performance.now();
  const page = await open(browser, new URL(`/s/${id}`, root).href, watchFirst);
  await page.evaluate(() => globalThis.presented.then(() => true));
  const presented = performance.now();
  await page.close();
  await ask("DELETE", `/api/streamers/${id}`);
  await ask("POST", `/api/hosts/${host}/cancel`);
  await ask("DELETE", `/api/hosts/${host}`);
  await tell("/do", { action: "unpair" });
  return { ms: presented - began, pair_ms: paired - began, start_ms: running - paired };
}

await main(async (browser) => {
  const firsts = [];
  for (let n = 0; n <= count; n++) {
    const first = await once(browser);
    // The first one warms the browser up.
    if (n > 0) firsts.push(first);
  }
  return { firsts };
});
