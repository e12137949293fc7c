import { cpSync, createReadStream, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { build } from "vite";
import { Program } from "./program.js";

const here = fileURLToPath(new URL("..", import.meta.url));
const program = new Program();
// realpath: where the temporary folder is a link, the bundler would see two of each file.
const dir = realpathSync(mkdtempSync(join(tmpdir(), "falcon-react-")));
let browser: Browser;
let site: Server;
let origin: string;

const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };

/** Builds the example as npm install and vite build would, with the client as npm run build left it. */
async function bundle(): Promise<void> {
  cpSync(join(here, "../../examples/react"), dir, { recursive: true, filter: (file) => !/node_modules|dist/.test(file) });
  mkdirSync(join(dir, "node_modules/@falconalert"), { recursive: true });
  symlinkSync(here, join(dir, "node_modules/@falconalert/falconbridge"));
  for (const name of ["react", "react-dom", "mqtt", "vite"]) symlinkSync(join(here, "node_modules", name), join(dir, "node_modules", name));
  await build({ root: dir, logLevel: "error" });
}

function serve(): Promise<Server> {
  return new Promise((done) => {
    const server = createServer((request, response) => {
      const path = new URL(request.url ?? "/", "http://x").pathname;
      const file = join(dir, "dist", path === "/" ? "index.html" : path);
      if (!existsSync(file) || !statSync(file).isFile()) return void response.writeHead(404).end();
      response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
      createReadStream(file).pipe(response);
    }).listen(0, "127.0.0.1", () => done(server));
  });
}

beforeAll(async () => {
  await bundle();
  site = await serve();
  origin = `http://127.0.0.1:${(site.address() as { port: number }).port}`;
  await program.build("--cors-origins", origin);
  browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
  await program.close();
  rmSync(dir, { recursive: true, force: true });
});

const shown = (page: Page) => page.evaluate(() => ({
  state: document.getElementById("state")?.textContent,
  bell: document.querySelector("button")?.getAttribute("aria-label"),
  lines: [...document.querySelectorAll("li")].map((n) => `${n.textContent} ${n.style.fontWeight}`),
}));
const shows = (page: Page, want: Awaited<ReturnType<typeof shown>>) =>
  vi.waitFor(async () => expect(await shown(page)).toEqual(want), { timeout: 40_000, interval: 100 });

test("the React example shows history and what arrives, and marks as read", async () => {
  await program.notify("before");
  const page = await browser.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(`${origin}/#url=${program.url}&token=${program.token("--user", "1")}`);
  await shows(page, { state: "live", bell: "1 unread", lines: ["before: m bold"] });
  await program.notify("<b>live</b>");
  await shows(page, { state: "live", bell: "2 unread", lines: ["<b>live</b>: m bold", "before: m bold"] });
  await page.click("li >> nth=1");
  await shows(page, { state: "live", bell: "1 unread", lines: ["<b>live</b>: m bold", "before: m normal"] });
  await page.click("text=Mark all read");
  await shows(page, { state: "live", bell: "0 unread", lines: ["<b>live</b>: m normal", "before: m normal"] });
  expect(faults).toEqual([]);
});
