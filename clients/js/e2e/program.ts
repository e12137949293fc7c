import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./checkout.js";

// Below the range of ports for outgoing connections, one of which could
// take a port between this check and the server's start.
const firstPort = 10_000;
const lastPort = 32_000;
const given = new Set<number>();

/** A free port of loopback. Each is returned once per process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort));
    if (given.has(port)) continue;
    given.add(port);
    const free = await new Promise<boolean>((done) => {
      const server = createServer().once("error", () => done(false));
      server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
    });
    if (free) return port;
  }
  throw new Error("no port of loopback is free");
}

/** The real program, in development mode. */
export class Program {
  readonly #dir = mkdtempSync(join(tmpdir(), "falcon-js-"));
  readonly #bin = join(this.#dir, "falconbridge");
  #process: ChildProcess | undefined;
  port = 0;
  mqttPort = 0;
  /** Variables added to its environment. */
  env: Record<string, string> = {};
  #args: string[] = [];

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Makes a key for --vapid-key-file and returns its path. */
  vapidKey(): string {
    const file = join(this.#dir, "vapid.pem");
    writeFileSync(file, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    return file;
  }

  async build(...args: string[]): Promise<void> {
    this.#args = args;
    execFileSync("go", ["build", "-o", this.#bin, "./cmd/falconbridge"], { cwd: root });
    this.port = await freePort();
    this.mqttPort = await freePort();
    await this.start();
  }

  async start(): Promise<void> {
    this.#process = spawn(this.#bin, [
      "serve", "--data-dir", this.#dir, "--http-addr", `127.0.0.1:${this.port}`, "--mqtt-addr", `127.0.0.1:${this.mqttPort}`,
      "--admin-addr", `127.0.0.1:${await freePort()}`, ...this.#args,
    ], { stdio: "ignore", env: { ...process.env, ...this.env } });
    for (let i = 0; i < 300; i++) {
      if (await fetch(`${this.url}/readyz`).then((r) => r.ok, () => false)) return;
      await new Promise((r) => setTimeout(r, 50));
    }
    throw new Error("the program did not start");
  }

  /** Kills it, like a crash. */
  async kill(): Promise<void> {
    const ended = new Promise((done) => this.#process?.once("exit", done));
    this.#process?.kill("SIGKILL");
    await ended;
  }

  token(...args: string[]): string {
    const out = execFileSync(this.#bin, ["token", "--data-dir", this.#dir, ...args], { encoding: "utf8" });
    return out.trim().split(/\s+/).at(-1)!;
  }

  async call(method: string, path: string, body?: unknown): Promise<Response> {
    const answer = await fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.token("--user", "ops", "--scope", "admin")}`, "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
    return answer;
  }

  notify(title: string): Promise<Response> {
    return this.call("POST", "/notifications", { title, message: "m", created_by: 1 });
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
