import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The commands that examples/README.md gives under a heading. */
export function commands(heading: string): string {
  const text = readFileSync(join(root, "examples/README.md"), "utf8");
  const section = text.split(/^##+ /m).find((s) => s.startsWith(`${heading}\n`)) ?? "";
  const block = /^```sh\n([^]*?)^```$/m.exec(section)?.[1];
  if (!block) throw new Error(`README.md has no commands under ${heading}`);
  return block;
}

/** A sample of a document: the block in that language that contains some text. */
export function sample(file: string, language: string, contains: string): string {
  const blocks = readFileSync(join(root, file), "utf8").split(/^```/m).filter((_, i) => i % 2 === 1);
  const found = blocks.filter((b) => b.startsWith(`${language}\n`) && b.includes(contains));
  if (found.length !== 1) throw new Error(`${file} has ${found.length} such blocks`);
  return found[0]!.slice(language.length + 1);
}

/** What a fresh clone holds of the examples and the client, without anything installed or built. */
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

  /** Runs a script from the root, as a shell would, to its end. */
  run(script: string, env: Record<string, string> = {}): string {
    return execFileSync("bash", ["-euo", "pipefail", "-c", script], { cwd: this.dir, env: { ...process.env, ...env }, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  }

  /** Begins a script that does not end; the lines it prints. */
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

/** Ends a shell with all it started. */
function end(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
