// Takes screenshots of the inbox page's states with e2e/states.test.ts. With a folder
// as argument all of them are saved there. Without one, the screenshots of the documentation are
// replaced: every state wide and light, and narrow and dark, in docs/screenshots/inbox,
// and the two of README.md. Reduced to 48 colours by pngquant, where that is installed.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const docs = fileURLToPath(new URL("../../../docs/screenshots", import.meta.url));
const given = process.argv[2];
const taken = given ?? mkdtempSync(join(tmpdir(), "falcon-screenshots-"));

const { status } = spawnSync("npx", ["vitest", "run", "--config", "vitest.e2e.config.ts", "e2e/states.test.ts"], {
  stdio: "inherit", env: { ...process.env, SCREENSHOTS: taken },
});
if (status !== 0) process.exit(status ?? 1);

const pictures = readdirSync(taken).filter((name) => name.endsWith(".png"));
const reduced = spawnSync("pngquant", ["--force", "--ext", ".png", "--speed", "1", "48", ...pictures.map((name) => join(taken, name))]);
if (reduced.error) console.error("pngquant is not installed: the pictures are larger than they need to be");

if (given === undefined) {
  const inbox = join(docs, "inbox");
  rmSync(inbox, { recursive: true, force: true });
  mkdirSync(inbox, { recursive: true });
  for (const name of pictures) if (/-(1280-light|390-dark)\.png$/.test(name)) copyFileSync(join(taken, name), join(inbox, name));
  copyFileSync(join(taken, "toast-1280-light.png"), join(docs, "inbox.png"));
  copyFileSync(join(taken, "inbox-390-dark.png"), join(docs, "inbox-phone.png"));
  rmSync(taken, { recursive: true });
}
