import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** A web-server; the page and its API then have one origin, as behind any reverse proxy. */
const server = process.env.ORIEL_SERVER ?? "http://127.0.0.1:8080";
const proxy = { "/api": { target: server, ws: true } };

export default defineConfig({
  plugins: [react()],
  server: { proxy },
  preview: { proxy },
});
