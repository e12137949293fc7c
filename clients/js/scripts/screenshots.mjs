// Replaces docs/screenshots: every state of the inbox, the console and the docs page, at 1280
// and 390 px, light and dark. The end-to-end tests take the pictures of the states they check.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = mkdtempSync(join(tmpdir(), "falcon-screenshots-")); // a run that fails leaves the documents as they are

const { status } = spawnSync("npx", ["vitest", "run", "--config", "vitest.e2e.config.ts", "e2e/states.test.ts", "e2e/console.test.ts", "-t", "px"], {
  stdio: "inherit", env: { ...process.env, SCREENSHOTS: folder },
});
if (status !== 0) process.exit(status ?? 1);

// 64 colours without dithering are enough for flat areas and text, at a third of the size.
const pictures = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".png"));
const reduced = spawnSync("pngquant", ["--force", "--ext", ".png", "--speed", "1", "--nofs", "64", ...pictures.map((name) => join(folder, name))], { stdio: "inherit" });
if (reduced.error) console.error("pngquant is not installed: the pictures are larger than they need to be");

const documented = fileURLToPath(new URL("../../../docs/screenshots", import.meta.url));
rmSync(documented, { recursive: true, force: true });
cpSync(folder, documented, { recursive: true });
rmSync(folder, { recursive: true });
