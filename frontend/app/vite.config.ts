import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** Where `npm run dev` finds a web-server. */
const server = process.env.ORIEL_SERVER ?? "http://127.0.0.1:8080";

/** Serves the viewer for every `s/{id}`, and the grid and the hosts without their ending, as the web-server does. */
const viewerRoute: Plugin = {
  name: "oriel:viewer-route",
  configureServer({ middlewares }) {
    middlewares.use((request, _response, next) => {
      if (/^\/s\/[^/?]+\/?(\?|$)/.test(request.url ?? "")) request.url = "/s/index.html";
      request.url = request.url?.replace(/^\/(grid|hosts)(?=\?|$)/, "/$1.html");
      next();
    });
  },
};

export default defineConfig({
  // Relative, so that the pages work below any path that a proxy puts before them.
  base: "./",
  plugins: [react(), viewerRoute],
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        list: resolve(import.meta.dirname, "index.html"),
        grid: resolve(import.meta.dirname, "grid.html"),
        hosts: resolve(import.meta.dirname, "hosts.html"),
        stream: resolve(import.meta.dirname, "stream.html"),
        viewer: resolve(import.meta.dirname, "s/index.html"),
      },
    },
  },
  server: { proxy: { "/api": { target: server, ws: true } } },
});
