import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The commands of examples/README.md under a heading. */
export function commands(heading: string): string {
  const text = readFileSync(join(root, "examples/README.md"), "utf8");
  const section = text.split(/^##+ /m).find((s) => s.startsWith(`${heading}\n`)) ?? "";
  const block = /^```sh\n([^]*?)^```$/m.exec(section)?.[1];
  if (!block) throw new Error(`README.md has no commands under ${heading}`);
  return block;
}

/** A sample of a document: the code block in that language that contains a text. */
export function sample(file: string, language: string, contains: string): string {
  const blocks = readFileSync(join(root, file), "utf8").split(/^```/m).filter((_, i) => i % 2 === 1);
  const found = blocks.filter((b) => b.startsWith(`${language}\n`) && b.includes(contains));
  if (found.length !== 1) throw new Error(`${file} has ${found.length} such blocks`);
  return found[0]!.slice(language.length + 1);
}

/** The examples and the client as in a fresh clone, without anything installed or built. */
export class Checkout {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), "falcon-checkout-")));
  readonly #running: ChildProcess[] = [];

  constructor() {
    const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z", "examples", "clients/js"], { cwd: root, encoding: "utf8" });
    for (const file of files.split("\0").filter(Boolean)) {
      mkdirSync(join(this.dir, dirname(file)), { recursive: true });
      cpSync(join(root, file), join(this.dir, file));
    }
  }

  /** Runs a script in the root with a shell until it ends. */
  run(script: string, env: Record<string, string> = {}): string {
    return execFileSync("bash", ["-euo", "pipefail", "-c", script], { cwd: this.dir, env: { ...process.env, ...env }, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  }

  /** Starts a script that does not end, and collects the lines that it prints. */
  begin(script: string, env: Record<string, string> = {}): { lines: string[]; stop(): void } {
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
      cwd: this.dir, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"], detached: true,
    });
    this.#running.push(child);
    const lines: string[] = [];
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      lines.push(...parts);
    });
    return { lines, stop: () => end(child) };
  }

  close(): void {
    for (const child of this.#running) end(child);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Kills a shell and everything that it started. */
function end(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    // It has already ended.
  }
}
