import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Checkout, commands } from "./checkout.js";
import { launch } from "./chromium.js";
import { freePort, Program } from "./program.js";

const program = new Program();
const checkout = new Checkout();
let browser: Browser;
let port: number;

beforeAll(async () => {
  port = await freePort();
  await program.build("--cors-origins", `http://localhost:${port}`);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  checkout.close();
  await program.close();
});

const shown = (page: Page) => page.evaluate(() => ({
  state: document.getElementById("state")?.textContent,
  bell: document.querySelector("button")?.getAttribute("aria-label"),
  lines: [...document.querySelectorAll("li")].map((n) => `${n.textContent} ${n.style.fontWeight}`),
}));
const shows = (page: Page, want: Awaited<ReturnType<typeof shown>>) =>
  vi.waitFor(async () => expect(await shown(page)).toEqual(want), { timeout: 40_000, interval: 100 });

const timeout = 300_000; // npm installs the client's tools and the example's

test("the React example builds from a fresh clone, shows history and live notifications, and marks as read", async () => {
  checkout.begin(commands("react"), { PORT: String(port) });
  await vi.waitFor(() => fetch(`http://localhost:${port}`), { timeout, interval: 200 });
  checkout.run("cd examples/react && npm run build");
  await program.notify("before");
  const page = await browser.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(`http://localhost:${port}/#url=${program.url}&token=${program.token("--user", "1")}`);
  await shows(page, { state: "live", bell: "1 unread", lines: ["before: m bold"] });
  await program.notify("<b>live</b>");
  await shows(page, { state: "live", bell: "2 unread", lines: ["<b>live</b>: m bold", "before: m bold"] });
  await page.click("li >> nth=1");
  await shows(page, { state: "live", bell: "1 unread", lines: ["<b>live</b>: m bold", "before: m normal"] });
  await page.click("text=Mark all read");
  await shows(page, { state: "live", bell: "0 unread", lines: ["<b>live</b>: m normal", "before: m normal"] });
  expect(faults).toEqual([]);
}, timeout + 60_000);
