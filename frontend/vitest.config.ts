import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: ["imports.test.js", "client/test/**/*.test.ts", "react/test/**/*.test.ts", "app/test/**/*.test.ts"],
    setupFiles: ["app/test/english.ts"],
    environment: "node",
    // For what never ends: a busy machine may stand still for longer than the five seconds that are the default.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
