import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./program.js";

/** A Postgres server that tests may stop and start. It refuses to run as root, and then runs as nobody. */
export class Postgres {
  readonly #dir = mkdtempSync(join(tmpdir(), "falcon-postgres-"));
  readonly #as = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  readonly #bin: string;
  #port = 0;
  #process: ChildProcess | undefined;

  constructor() {
    const version = readdirSync("/usr/lib/postgresql").sort((a, b) => Number(a) - Number(b)).at(-1);
    this.#bin = `/usr/lib/postgresql/${version}/bin`;
    if (this.#as.uid) chownSync(this.#dir, this.#as.uid, this.#as.gid!);
    chmodSync(this.#dir, 0o700);
  }

  get url(): string {
    return `postgres://falcon@127.0.0.1:${this.#port}/postgres?sslmode=disable`;
  }

  async create(): Promise<void> {
    this.#port = await freePort();
    execFileSync(`${this.#bin}/initdb`, ["-D", this.#dir, "-U", "falcon", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"], { ...this.#as, cwd: this.#dir });
    await this.start();
  }

  async start(): Promise<void> {
    this.#process = spawn(`${this.#bin}/postgres`, ["-D", this.#dir, "-p", String(this.#port), "-k", this.#dir, "-h", "127.0.0.1", "-F"], { ...this.#as, cwd: this.#dir, stdio: "ignore" });
    for (let i = 0; i < 300; i++) {
      if (await reachable(this.#port)) return;
      await new Promise((r) => setTimeout(r, 50));
    }
    throw new Error("Postgres did not start");
  }

  /** Stops it and ends all connections to it. */
  async stop(): Promise<void> {
    const ended = new Promise((done) => this.#process?.once("exit", done));
    this.#process?.kill("SIGINT");
    await ended;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function reachable(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), done(true)));
    socket.once("error", () => done(false));
  });
}
