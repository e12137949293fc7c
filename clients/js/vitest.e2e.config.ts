import { defineConfig } from "vitest/config";

// Two files at a time: they mostly wait, for pages and for time to pass.
export default defineConfig({ test: { include: ["e2e/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 180_000, maxWorkers: 2 } });
