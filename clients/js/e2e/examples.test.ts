import { type ChildProcessByStdio, spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { Program } from "./program.js";

const examples = fileURLToPath(new URL("../../../examples", import.meta.url));
const modules = fileURLToPath(new URL("../node_modules", import.meta.url));
const program = new Program();
const dir = mkdtempSync(join(tmpdir(), "falcon-examples-"));
const running: Array<ChildProcessByStdio<null, Readable, null>> = [];

beforeAll(async () => {
  await program.build();
  // As npm install would leave it.
  cpSync(join(examples, "node"), dir, { recursive: true });
  symlinkSync(modules, join(dir, "node_modules"));
});

afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});

afterAll(async () => {
  await program.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Starts an example and collects what it prints. */
function listen(command: string, file: string): { lines: string[]; stop(): void } {
  const child = spawn(command, [file], {
    stdio: ["ignore", "pipe", "ignore"],
    env: {
      ...process.env,
      FALCON_TOKEN: program.token("--user", "1"),
      FALCON_MQTT_URL: `mqtt://127.0.0.1:${program.mqttPort}`,
      FALCON_PORT: String(program.mqttPort),
    },
  });
  running.push(child);
  const lines: string[] = [];
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  });
  return { lines, stop: () => void child.kill("SIGKILL") };
}

const until = (f: () => void) => vi.waitFor(f, { timeout: 40_000, interval: 50 });

// /usr/bin/python3 has Debian's python3-paho-mqtt.
test.each([
  ["node", "node", () => join(dir, "listen.mjs")],
  ["python", "/usr/bin/python3", () => join(examples, "python/listen.py")],
])("%s keeps its place", async (name, command, file) => {
  await program.notify(`${name} before`);
  const first = listen(command, file());
  await until(() => expect(first.lines.at(-1)).toContain(`${name} before`));
  await program.notify(`${name} live`);
  await until(() => expect(first.lines.at(-1)).toContain(`${name} live`));
  first.stop();
  await program.notify(`${name} absent 1`);
  await program.notify(`${name} absent 2`);
  const second = listen(command, file());
  await until(() => expect(second.lines.map((l) => l.replace(/^#\d+ /, ""))).toEqual(
    expect.arrayContaining([`${name} absent 1`, `${name} absent 2`])));
  expect(second.lines.filter((l) => l.endsWith("absent 1"))).toHaveLength(1);
});
