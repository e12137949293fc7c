import { createServer, type Server } from "node:http";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { violations } from "./axe.js";
import { launch } from "./chromium.js";
import { Program } from "./program.js";

const program = new Program();
let browser: Browser;
let context: BrowserContext;
const sites: Server[] = [];
let listed: string; // an origin in --cors-origins
let unlisted: string;

/** An application's own page: no npm, a strict policy, the element from the server. */
const page = `<!doctype html><html lang="en"><title>app</title><meta name="viewport" content="width=device-width">
<body><main><h1>My application</h1><falcon-bell></falcon-bell><falcon-inbox></falcon-inbox></main>
<script type="module" src="/app.js"></script></html>`;
const script = () => `
  import { connect } from "${program.url}/client/index.js";
  import "${program.url}/client/element.js";
  const { token } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  window.inbox = connect({ url: "${program.url}", getToken: () => token });
  for (const node of document.querySelectorAll("falcon-inbox, falcon-bell")) node.inbox = window.inbox;`;
const policy = () => `default-src 'none'; script-src 'self' ${program.url}; style-src 'self'; connect-src ${program.url} ${program.url.replace("http", "ws")}`;

async function serve(): Promise<string> {
  const site = createServer((request, response) => {
    const js = request.url === "/app.js";
    response.writeHead(200, { "Content-Type": js ? "text/javascript" : "text/html", "Content-Security-Policy": policy() }).end(js ? script() : page);
  });
  sites.push(site);
  await new Promise<void>((done) => site.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(site.address() as { port: number }).port}`;
}

beforeAll(async () => {
  [listed, unlisted] = [await serve(), await serve()];
  await program.build("--cors-origins", listed);
  browser = await launch();
});

afterEach(async () => {
  await context?.close();
  await program.call("DELETE", "/admin/users/1");
});

afterAll(async () => {
  await browser?.close();
  for (const site of sites) site.close();
  await program.close();
});

const until = (f: () => Promise<void>) => vi.waitFor(f, { timeout: 40_000, interval: 100 });

async function open(options: { origin?: string; token?: string; width?: number; height?: number; touch?: boolean } = {}): Promise<Page> {
  const { origin = listed, token = program.token("--user", "1"), width = 1280, height = 800, touch = false } = options;
  context = await browser.newContext({ viewport: { width, height }, hasTouch: touch, isMobile: touch });
  const opened = await context.newPage();
  const faults: string[] = [];
  opened.on("pageerror", (e) => faults.push(e.message));
  opened.on("console", (m) => /Content Security Policy/.test(m.text()) && faults.push(m.text()));
  await opened.goto(`${origin}/#token=${token}`);
  await opened.locator("falcon-inbox .toolbar").waitFor();
  expect(faults).toEqual([]);
  return opened;
}

const notify = (draft: Record<string, unknown>) => program.call("POST", "/notifications", { title: "t", message: "m", created_by: 1, ...draft });
const live = (p: Page) => until(async () => expect(await p.evaluate(() => (window as unknown as { inbox: { state: string } }).inbox.state)).toBe("live"));
const titles = (p: Page) => p.locator("falcon-inbox .title").allTextContents();
test("an application's page imports the element without npm, and shows history and what arrives", async () => {
  await notify({ title: "<b>before</b>" });
  const p = await open();
  await live(p);
  await until(async () => expect(await titles(p)).toEqual(["<b>before</b>"]));
  await notify({ title: "live" });
  await until(async () => expect(await titles(p)).toEqual(["live", "<b>before</b>"]));
  expect(await p.locator("falcon-bell .badge").textContent()).toBe("2");
  expect(await violations(p)).toEqual([]);

  await p.locator("falcon-inbox .item").first().hover();
  await p.locator("falcon-inbox .act").first().click();
  await until(async () => expect(await p.locator("falcon-bell .badge").textContent()).toBe("1"));
  await p.locator("falcon-inbox .unread-only").click();
  await until(async () => expect(await titles(p)).toEqual(["<b>before</b>"]));
  await p.locator("falcon-inbox .all").click();

  await p.locator("falcon-inbox .item").first().hover();
  await p.locator("falcon-inbox .remove").first().click();
  await until(async () => expect(await titles(p)).toEqual(["<b>before</b>"]));
  await p.locator("falcon-inbox .said button").click();
  await until(async () => expect(await titles(p)).toEqual(["live", "<b>before</b>"]));

  await p.locator("falcon-bell").getByRole("button").first().click();
  await until(async () => expect(await p.locator("falcon-bell .panel .title").allTextContents()).toEqual(["live", "<b>before</b>"]));
  const panel = await p.locator("falcon-bell .panel").boundingBox();
  expect(panel!.x >= 0 && panel!.x + panel!.width <= 1280 && panel!.y + panel!.height <= 800).toBe(true);
  expect(await violations(p)).toEqual([]);
  await p.keyboard.press("Escape");
  await until(async () => expect(await p.locator("falcon-bell .panel").isVisible()).toBe(false));
});

test("an empty inbox says that it is empty, and mute says what it does", async () => {
  const p = await open();
  await live(p);
  expect(await p.locator("falcon-inbox .empty .big").textContent()).toBe("Your inbox is empty");
  expect(await p.locator("falcon-inbox .summary").textContent()).toBe("");
  await p.locator("falcon-inbox .mute").click();
  await until(async () => expect(await p.locator("falcon-inbox .notice").first().textContent()).toContain("neither shown, announced nor sent until you unmute"));
  expect(await violations(p)).toEqual([]);
  await p.locator("falcon-inbox .notice button", { hasText: "Unmute" }).click();
  await until(async () => expect(await p.locator("falcon-inbox .notice").first().isVisible()).toBe(false));
});

test("nine items fit on 1280 × 800, a long message is clamped, and the badge ends at 99+", async () => {
  const batch = Array.from({ length: 120 }, (_, i) => ({ title: `Report ${i} was approved`, message: "Your report titled Phishing page has been updated to Approved", created_by: 1 }));
  await program.call("POST", "/notifications/batch", { notifications: batch });
  const p = await open();
  await live(p);
  await p.locator("falcon-inbox").evaluate((node) => node.scrollIntoView());
  const whole = await p.locator("falcon-inbox .item").evaluateAll((all) => all.filter((n) => n.getBoundingClientRect().bottom <= innerHeight).length);
  expect(whole).toBeGreaterThanOrEqual(9);
  expect(await p.locator("falcon-bell .badge").textContent()).toBe("99+");
  await notify({ title: "long", message: "word ".repeat(300) });
  const more = p.locator("falcon-inbox .expand");
  await more.waitFor();
  const height = () => p.locator("falcon-inbox .item").first().evaluate((n) => n.getBoundingClientRect().height);
  const clamped = await height();
  await more.click();
  expect(await height()).toBeGreaterThan(2 * clamped);
});

test("on a touch screen the actions are visible without hovering, 44 px large", async () => {
  await notify({ title: "touch" });
  const p = await open({ width: 390, height: 844, touch: true });
  await live(p);
  const sizes = await p.locator("falcon-inbox .act:visible").evaluateAll((all) => all.map((n) => [n.getBoundingClientRect().width, n.getBoundingClientRect().height]));
  expect(sizes).toHaveLength(2);
  for (const [width, height] of sizes) expect(Math.min(width!, height!)).toBeGreaterThanOrEqual(44);
  expect(await p.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});

test("an application's variables and language reach the element, its text-align does not", async () => {
  await notify({ title: "a" });
  const p = await open();
  await live(p);
  await p.evaluate(() => {
    document.body.style.textAlign = "right";
    for (const node of document.querySelectorAll<HTMLElement>("falcon-inbox, falcon-bell")) {
      node.lang = "es";
      for (const [name, value] of [["accent", "#0b57d0"], ["on-accent", "#fefefe"], ["card", "#fafafa"], ["ink", "#202124"], ["radius", "3px"], ["font", "15px serif"]]) node.style.setProperty(`--falcon-${name}`, value!);
    }
  });
  const style = (selector: string, property: string) => p.locator(selector).first().evaluate((n, name) => getComputedStyle(n).getPropertyValue(name), property);
  expect(await style("falcon-bell .badge", "background-color")).toBe("rgb(11, 87, 208)");
  expect(await style("falcon-bell .badge", "color")).toBe("rgb(254, 254, 254)");
  expect(await style("falcon-inbox .items", "background-color")).toBe("rgb(250, 250, 250)");
  expect(await style("falcon-inbox .items", "border-top-left-radius")).toBe("3px");
  expect(await style("falcon-inbox .title", "color")).toBe("rgb(32, 33, 36)");
  expect(await style("falcon-inbox .title", "font-family")).toBe("serif");
  expect(await style("falcon-inbox .title", "text-align")).toBe("start");
  expect(await p.locator("falcon-inbox .name").textContent()).toBe("Bandeja");
  expect(await p.locator("falcon-bell button").first().getAttribute("aria-label")).toBe("Notificaciones, 1 sin leer");
});

test("an invalid token and a missing --cors-origins are reported", async () => {
  const good = program.token("--user", "1");
  const wrong = await open({ token: `${good.slice(0, -8)}AAAAAAAA` });
  await until(async () => expect(await wrong.locator("falcon-inbox .notice").first().textContent()).toMatch(/Signed out.*token/));
  await context.close();
  const foreign = await open({ origin: unlisted });
  await until(async () => expect(await foreign.locator("falcon-inbox .notice").first().textContent()).toContain(`add ${unlisted} to its --cors-origins`));
});
