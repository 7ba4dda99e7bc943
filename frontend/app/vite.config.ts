import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Where `npm run dev` finds a web-server. */
const server = process.env.ORIEL_SERVER ?? "http://127.0.0.1:8080";

/** Serves the viewer for every `s/{id}`, the room for every `r/{id}`, and other pages without their ending, as the web-server does. */
const viewerRoute: Plugin = {
  name: "oriel:viewer-route",
  configureServer({ middlewares }) {
    middlewares.use((request, _response, next) => {
      const folder = /^\/([rs])\/[^/?]+\/?(\?|$)/.exec(request.url ?? "")?.[1];
      if (folder !== undefined) request.url = `/${folder}/index.html`;
      request.url = request.url?.replace(/^\/(grid|hosts|nodes|rooms)(?=\?|$)/, "/$1.html");
      next();
    });
  },
};

/** What is compressed: the rest is compressed already, or too short to gain by it. */
const COMPRESSIBLE = /\.(?:html|js|css|svg|json)$/;
const SHORT_BYTES = 512;

/** Puts the compressed forms of every file of text beside it, for the web-server to serve. */
const precompressed: Plugin = {
  name: "oriel:precompressed",
  apply: "build",
  async writeBundle({ dir }, bundle) {
    if (dir === undefined) return;
    for (const [name, file] of Object.entries(bundle)) {
      const content = Buffer.from(file.type === "chunk" ? file.code : file.source);
      if (!COMPRESSIBLE.test(name) || content.length < SHORT_BYTES) continue;
      await writeFile(resolve(dir, `${name}.br`), brotliCompressSync(content));
      await writeFile(resolve(dir, `${name}.gz`), gzipSync(content, { level: 9 }));
    }
  },
};

export default defineConfig({
  // Relative, so that the pages work below any path that a proxy puts before them.
  base: "./",
  // Our packages from their sources; others get them built.
  resolve: {
    tsconfigPaths: true,
    // Components are written for React, whose types and rules they are checked by. The pages run them with Preact, which is a tenth of
    // its size: a viewer's script is loaded before its first picture.
    alias: [
      { find: "react/jsx-runtime", replacement: "preact/jsx-runtime" },
      { find: "react/jsx-dev-runtime", replacement: "preact/jsx-dev-runtime" },
      { find: /^react-dom\/client$/, replacement: "preact/compat/client" },
      { find: /^react(-dom)?$/, replacement: "preact/compat" },
    ],
  },
  plugins: [viewerRoute, precompressed],
  build: {
    target: "es2022",
    // Those that know light-dark() themselves: what stands in for it would not follow a part of a page that is always dark.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        list: resolve(import.meta.dirname, "index.html"),
        grid: resolve(import.meta.dirname, "grid.html"),
        hosts: resolve(import.meta.dirname, "hosts.html"),
        nodes: resolve(import.meta.dirname, "nodes.html"),
        rooms: resolve(import.meta.dirname, "rooms.html"),
        room: resolve(import.meta.dirname, "r/index.html"),
        stream: resolve(import.meta.dirname, "stream.html"),
        viewer: resolve(import.meta.dirname, "s/index.html"),
      },
    },
  },
  server: { proxy: { "/api": { target: server, ws: true } } },
});
