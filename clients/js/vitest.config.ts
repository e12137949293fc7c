import { defineConfig } from "vitest/config";

// The limits are for a test that hangs. On a busy machine, loading React alone takes seconds.
export default defineConfig({ test: { include: ["test/**/*.test.{ts,tsx}"], restoreMocks: true, testTimeout: 30_000 } });
