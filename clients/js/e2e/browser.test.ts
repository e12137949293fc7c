import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { launch } from "./chromium.js";
import { Program } from "./program.js";

const here = fileURLToPath(new URL("..", import.meta.url));
const program = new Program();
let browser: Browser;
let context: BrowserContext;
let site: Server;
let origin: string;
let unblock: (() => void) | null = null; // completes the request to /block, once it has arrived

const page = `<!doctype html><title>test</title>
<script type="importmap">{"imports": {"mqtt": "/node_modules/mqtt/dist/mqtt.esm.js"}}</script>
<script type="module">
  import { connect } from "/dist/index.js";
  const { url, token } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  window.titles = [];
  window.inbox = connect({ url, getToken: () => token });
  inbox.on("notification", (item) => titles.push(item.title));
</script>`;

/** A common policy, without workers from blobs. In addition, it allows the page's own inline script. */
const policy = "default-src 'self'; script-src 'self' 'unsafe-inline'; connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*";

/** Serves the client built by npm run build on an origin of its own. */
function serve(): Promise<Server> {
  return new Promise((done) => {
    const server = createServer((request, response) => {
      if (request.url === "/") return void response.writeHead(200, { "Content-Type": "text/html", "Content-Security-Policy": policy }).end(page);
      if (request.url === "/block") return void (unblock = () => response.end());
      const file = `${here}${request.url}`;
      if (!existsSync(file)) return void response.writeHead(404).end();
      response.setHeader("Content-Type", "text/javascript");
      createReadStream(file).pipe(response);
    }).listen(0, "127.0.0.1", () => done(server));
  });
}

beforeAll(async () => {
  site = await serve();
  origin = `http://127.0.0.1:${(site.address() as { port: number }).port}`;
  await program.build("--cors-origins", origin);
  browser = await launch();
});

afterEach(() => context?.close());

afterAll(async () => {
  await browser?.close();
  site?.close();
  await program.close();
});

const until = (f: () => Promise<void>) => vi.waitFor(f, { timeout: 40_000, interval: 100 });

async function tab(user: string): Promise<Page> {
  const opened = await context.newPage();
  await opened.goto(`${origin}/#url=${program.url}&token=${program.token("--user", user)}`);
  return opened;
}

type Shown = { inbox: { state: string; unread: number; list(): { id: number; title: string }[]; read(id: number): Promise<void> }; titles: string[] };
const state = (p: Page) => p.evaluate(() => (window as unknown as Shown).inbox.state);
const unread = (p: Page) => p.evaluate(() => (window as unknown as Shown).inbox.unread);
const titles = (p: Page) => p.evaluate(() => (window as unknown as Shown).titles);

async function connections(user: string): Promise<number> {
  const list = (await (await program.call("GET", `/admin/connections?user=${user}`)).json()) as unknown[];
  return list.length;
}

test("two tabs share one connection, and it moves when the leading one closes", async () => {
  context = await browser.newContext();
  const [a, b] = [await tab("1"), await tab("1")];
  await until(async () => expect([await state(a), await state(b)]).toEqual(["live", "live"]));
  await until(async () => expect(await connections("1")).toBe(1));
  await program.notify("one");
  await until(async () => expect([await titles(a), await titles(b)]).toEqual([["one"], ["one"]]));

  await a.evaluate(() => {
    const { inbox } = window as unknown as Shown;
    return inbox.read(inbox.list()[0]!.id);
  });
  await until(async () => expect(await unread(b)).toBe(0));

  await a.close();
  await program.notify("two");
  await until(async () => expect(await titles(b)).toEqual(["one", "two"]));
  await until(async () => expect(await state(b)).toBe("live"));
  await program.notify("three");
  await until(async () => expect(await titles(b)).toEqual(["one", "two", "three"]));
  await until(async () => expect(await connections("1")).toBe(1));
});

test("another tab takes over from a blocked leader, which follows when it runs again", async () => {
  context = await browser.newContext();
  const a = await tab("1");
  await until(async () => expect(await state(a)).toBe("live"));
  const b = await tab("1");
  await until(async () => expect(await state(b)).toBe("live"));
  await until(async () => expect(await connections("1")).toBe(1));

  const stuck = a.evaluate(() => {
    const request = new XMLHttpRequest();
    request.open("GET", "/block", false); // synchronous: nothing else runs until the response
    request.send();
  });
  await until(async () => expect(unblock).not.toBeNull());
  await program.notify("meanwhile");
  await until(async () => expect(await titles(b)).toEqual(["meanwhile"]));
  unblock!();
  await stuck;
  await until(async () => expect(await titles(a)).toEqual(["meanwhile"]));
  await until(async () => expect(await connections("1")).toBe(1));
  await program.notify("after");
  await until(async () => expect([await titles(a), await titles(b)]).toEqual([["meanwhile", "after"], ["meanwhile", "after"]]));
  await until(async () => expect([await state(a), await state(b)]).toEqual(["live", "live"]));
});

test("the keep-alive works under default-src 'self'", async () => {
  context = await browser.newContext();
  const page = await context.newPage();
  const refused: string[] = [];
  let [pings, pongs] = [0, 0];
  page.on("console", (m) => /Content Security Policy/.test(m.text()) && refused.push(m.text()));
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => void (typeof payload !== "string" && payload[0] === 0xc0 && pings++));
    socket.on("framereceived", ({ payload }) => void (typeof payload !== "string" && payload[0] === 0xd0 && pongs++));
  });
  await page.clock.install();
  await page.goto(`${origin}/#url=${program.url}&token=${program.token("--user", "1")}`);
  await until(async () => expect(await state(page)).toBe("live"));
  await until(async () => {
    expect(pongs).toBe(pings); // the page's clock is stopped until the response has arrived
    await page.clock.runFor(5_000);
    expect(pings).toBeGreaterThanOrEqual(3);
  });
  expect(await state(page)).toBe("live");
  expect(refused).toEqual([]);
});

test("reports a missing network, and catches up when it returns", async () => {
  context = await browser.newContext();
  const a = await tab("1");
  await until(async () => expect(await state(a)).toBe("live"));
  await context.setOffline(true);
  await program.kill();
  await until(async () => expect(await state(a)).toBe("away"));
  await program.start();
  await program.notify("missed");
  await context.setOffline(false);
  await until(async () => expect(await titles(a)).toEqual(["missed"]));
  await until(async () => expect(await state(a)).toBe("live"));
});
