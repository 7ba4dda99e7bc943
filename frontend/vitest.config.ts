import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: ["imports.test.js", "client/test/**/*.test.ts", "react/test/**/*.test.ts", "app/test/**/*.test.ts"],
    setupFiles: ["app/test/english.ts"],
    environment: "node",
  },
});
