import { mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Checkout, commands, sample } from "./checkout.js";
import { launch } from "./chromium.js";
import { Postgres } from "./postgres.js";
import { freePort, Program } from "./program.js";

/** A proxy in front of the server that can be cut, and counts the logins that the server refuses with 0x88. */
class Way {
  port = 0;
  refused = 0;
  readonly #open = new Set<Socket>();
  readonly #server: Server;

  constructor(to: () => number) {
    this.#server = createServer((device) => {
      const server = connect(to(), "127.0.0.1");
      for (const [a, b] of [[device, server], [server, device]] as const) {
        this.#open.add(a);
        a.on("error", () => b.destroy()).on("close", () => (this.#open.delete(a), b.destroy()));
        a.on("data", (chunk) => {
          // CONNACK: type, length, no session present, the reason. Over WebSocket it follows a frame's header.
          if (a === server && /(^|\x82[^])\x20[^]\x00\x88/.test(chunk.toString("latin1"))) this.refused++;
          b.write(chunk);
        });
      }
    });
  }

  async listen(): Promise<void> {
    this.port = await freePort();
    await new Promise<void>((done) => this.#server.listen(this.port, "127.0.0.1", done));
  }

  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

const postgres = new Postgres();
const program = new Program();
const checkout = new Checkout();
const ways: Way[] = [];
let browser: Browser;
let sitePort: number;

beforeAll(async () => {
  await postgres.create();
  sitePort = await freePort();
  await program.build("--database-url", postgres.url, "--cors-origins", `http://localhost:${sitePort}`);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  checkout.close();
  for (const way of ways) way.close();
  await program.close();
  await postgres.close();
});

async function way(to: () => number): Promise<Way> {
  const made = new Way(to);
  ways.push(made);
  await made.listen();
  return made;
}

/** A running sample: its proxy, and whether it showed a title. */
type Running = { way: Way; shows(title: string): Promise<boolean> };

const samples: Record<string, (token: string) => Promise<Running>> = {
  "README.md, mqtt.js": async (token) => {
    const to = await way(() => program.port);
    const script = sample("README.md", "js", "mqtt.connect(").replace("127.0.0.1:8080", `127.0.0.1:${to.port}`);
    mkdirSync(join(checkout.dir, "inbox"));
    writeFileSync(join(checkout.dir, "inbox/inbox.mjs"), script);
    const { lines } = checkout.begin("cp examples/node/package.json inbox && cd inbox && npm install && node inbox.mjs", { TOKEN: token });
    return { way: to, shows: async (title) => lines.some((l) => l.includes(title)) };
  },
  "examples/node": async (token) => {
    const to = await way(() => program.mqttPort);
    const { lines } = checkout.begin(commands("node"), { FALCON_TOKEN: token, FALCON_MQTT_URL: `mqtt://127.0.0.1:${to.port}` });
    return { way: to, shows: async (title) => lines.some((l) => l.includes(title)) };
  },
  "examples/python": async (token) => {
    const to = await way(() => program.mqttPort);
    const { lines } = checkout.begin("/usr/bin/python3 examples/python/listen.py", { FALCON_TOKEN: token, FALCON_PORT: String(to.port) });
    return { way: to, shows: async (title) => lines.some((l) => l.includes(title)) };
  },
  "examples/page": async (token) => {
    const to = await way(() => program.port);
    checkout.begin(commands("page").replace("5500", String(sitePort)));
    const page: Page = await browser.newPage();
    await until(async () => void (await page.goto(`http://localhost:${sitePort}/#url=http://127.0.0.1:${to.port}&token=${token}`)));
    return { way: to, shows: async (title) => (await page.locator("li").allTextContents()).some((l) => l.includes(title)) };
  },
};

const until = (f: () => void | Promise<void>) => vi.waitFor(f, { timeout: 90_000, interval: 100 });

test("every sample reconnects after it was refused while the database was unavailable", async () => {
  const token = program.token("--user", "1");
  await program.notify("before");
  const running = await Promise.all(Object.entries(samples).map(async ([name, start]) => [name, await start(token)] as const));
  const shown = async (title: string) => {
    const missing: string[] = [];
    for (const [name, r] of running) if (!(await r.shows(title))) missing.push(name);
    return missing;
  };
  await until(async () => expect(await shown("before")).toEqual([]));

  await postgres.stop();
  for (const [, r] of running) r.way.cut();
  await until(() => expect(running.filter(([, r]) => r.way.refused === 0).map(([name]) => name)).toEqual([]));
  await postgres.start();
  await until(async () => void (await program.notify("after")));
  await until(async () => expect(await shown("after")).toEqual([]));
}, 300_000);
