import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Where `npm run dev` finds a web-server. */
const server = process.env.ORIEL_SERVER ?? "http://127.0.0.1:8080";

export default defineConfig({
  // Relative, so that the pages work below any path that a proxy puts before them.
  base: "./",
  plugins: [react()],
  build: { target: "es2022", outDir: "dist", emptyOutDir: true, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": { target: server, ws: true } } },
});
