import mqtt, { type MqttClient } from "mqtt";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { launch } from "./chromium.js";
import { check, contextFor, screens } from "./picture.js";
import { Postgres } from "./postgres.js";
import { Program } from "./program.js";

// The operator console and the docs page. The console is served by the first of two nodes.

const postgres = new Postgres();
const [one, two] = [new Program(), new Program()] as const;
const devices: MqttClient[] = [];
const pages: Page[] = [];
const faults: string[] = [];
let browser: Browser;

beforeAll(async () => {
  const secret = { FALCON_JWT_SECRET: "one secret for both nodes, of 32 bytes at least" };
  Object.assign(process.env, secret); // for their commands as well
  await postgres.create();
  await one.build("--database-url", postgres.url, "--locale", "en");
  await two.build("--database-url", postgres.url, "--locale", "en");
  browser = await launch("--hide-scrollbars");
});

afterEach(async () => {
  for (const page of pages.splice(0)) await page.context().close();
  for (const device of devices.splice(0)) device.end(true);
  expect(faults.splice(0)).toEqual([]);
});

afterAll(async () => {
  await browser?.close();
  await one.close();
  await two.close();
  await postgres.close();
});

const until = (f: () => void | Promise<void>) => vi.waitFor(f, { timeout: 60_000, interval: 50 });

/** Connects a device of a user to a node, with a session. */
async function device(node: Program, user: string, clientId: string): Promise<MqttClient> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${node.mqttPort}`, {
    protocolVersion: 5, clientId, clean: false, properties: { sessionExpiryInterval: 3600 }, username: "device", password: node.token("--user", user),
  });
  client.on("error", () => {}); // it reconnects
  devices.push(client);
  await new Promise((up) => client.once("connect", up));
  await client.subscribeAsync(`users/${user}/reports/status`, { qos: 1 });
  return client;
}

async function open(path: string, options: BrowserContextOptions = contextFor(screens[0]!)): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  pages.push(page);
  page.on("pageerror", (e) => faults.push(e.message));
  page.on("console", (m) => /Content Security Policy/.test(m.text()) && faults.push(m.text()));
  await page.goto(one.url + path);
  return page;
}

const operator = () => one.token("--user", "ops", "--scope", "admin");

async function openConsole(options?: BrowserContextOptions): Promise<Page> {
  const page = await open(`/console#token=${operator()}`, options);
  await page.locator('#connection[data-state="live"]').waitFor();
  return page;
}

const row = (page: Page, client: string) => page.locator("#connections tr", { hasText: client });
const figure = (page: Page, name: string) => page.locator(".chart", { has: page.locator("figcaption", { hasText: name }) }).locator(".figure");

test("after the token is entered, the console starts at its top", async () => {
  const page = await open("/console");
  await page.locator("#token").fill(operator());
  await page.locator("#token").press("Enter");
  await page.locator("#connections > *").waitFor();
  const [heading, bar] = await Promise.all([page.locator("#figures-title").boundingBox(), page.locator(".bar").boundingBox()]);
  expect(heading!.y).toBeGreaterThanOrEqual(bar!.y + bar!.height);
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("main"); // for the keyboard
});

test("while the server does not respond, the console marks its figures, nodes and connections as old", { timeout: 180_000 }, async () => {
  await device(one, "1", "phone");
  const page = await openConsole();
  await row(page, "phone").waitFor();
  await until(async () => expect(await figure(page, "Connections").textContent()).toBe("1"));
  expect(await page.locator(".chart .unit").first().textContent()).toBe("device"); // not "1 devices"
  const asOf = page.locator("#as-of");
  const stale = async () => [await asOf.isVisible(), await page.locator("#trouble").isVisible(), await page.locator('#nodes [data-state="live"]').count() === 0, await row(page, "phone").locator(".stale").isVisible()];
  expect(await stale()).toEqual([false, false, false, false]);

  await one.kill();
  await until(async () => expect(await stale()).toEqual([true, true, true, true]));
  expect(await asOf.textContent()).toMatch(/^as of \d+:\d\d:\d\d/);
  expect(await page.locator("#trouble").textContent()).toContain("The server does not respond");
  expect(await figure(page, "Connections").textContent()).toBe("1"); // still the last known one
  expect(await page.locator("#ready").isVisible()).toBe(false);
  expect(await page.locator("#connection").getAttribute("data-state")).toBe("connecting");

  await one.start();
  await row(page, "phone").waitFor();
  await until(async () => expect(await stale()).toEqual([false, false, false, false]));
  expect(await page.locator("#ready").textContent()).toBe("Database and bus respond");
});

test("connections are filtered by their node", async () => {
  await device(one, "1", "near");
  await device(two, "1", "far");
  const page = await openConsole();
  const node = await row(page, "far").locator('td[data-name="Node"]').textContent();
  await page.locator("#by-node").selectOption(node);
  await until(async () => expect(await page.locator("#connections code").allTextContents()).toEqual(["far"]));
  await page.locator("#by-node").selectOption("");
  await until(async () => expect(await page.locator("#connections code").allTextContents()).toEqual(["far", "near"]));
});

test("a node that sends no heartbeat is marked with its connections, and disappears", { timeout: 180_000 }, async () => {
  await device(one, "1", "near");
  await device(two, "1", "far");
  const page = await openConsole();
  await row(page, "far").waitFor();
  await until(async () => expect(await page.locator('#nodes [data-state="live"]').count()).toBe(2));
  await page.clock.install();
  await two.kill();
  devices.pop()!.end(true); // or it would come back
  await until(async () => {
    await page.clock.runFor(5_000); // the next poll
    expect(await row(page, "far").locator(".stale").textContent({ timeout: 1_000 })).toMatch(/^node silent for \d+ s$/);
  });
  expect(await page.locator('#nodes [data-state="away"]').textContent()).toMatch(/silent for \d+ s/);
  expect(await row(page, "near").locator(".stale").count()).toBe(0);
  await until(async () => {
    await page.clock.runFor(5_000);
    expect([await page.locator("#nodes li").count(), await row(page, "far").count(), await row(page, "near").count()]).toEqual([1, 0, 1]);
  });
  await two.start();
});

test.each(screens)("the console's states at %i px, %s", { timeout: 120_000 }, async (...screen) => {
  for (const user of ["42", "maria@example.org"]) await one.call("DELETE", `/admin/users/${user}`);
  const shown = (name: string) => check(page, screen, `console/${name}`, name === "board" && screen[0] > 600);
  const page = await open("/console", contextFor(screen));
  await page.locator("#token").fill(one.token("--user", "1"));
  await page.locator("#token").press("Enter");
  await page.locator("#fault").waitFor();
  await shown("refused");

  for (const [node, user, client] of [[one, "42", "iphone-15"], [two, "42", "laptop"], [two, "maria@example.org", "pixel-9"]] as const) await device(node, user, client);
  const tablet = await device(one, "42", "tablet-of-anna");
  await tablet.endAsync();
  await page.locator("#token").fill(operator());
  await page.locator("#token").press("Enter");
  await page.locator('#connection[data-state="live"]').waitFor();
  await page.locator("#stream .none").waitFor();
  await one.call("POST", "/notifications", { title: "Your order 1042 has been shipped", message: "It arrives on Thursday.", created_by: 42, kind: "order" });
  for (const [id, title, user] of [[2, "Phishing page of a bank", 42], [3, "Stolen bicycle offered for sale", "maria@example.org"]] as const) {
    await one.call("POST", "/reports", { id, title, created_by: user });
    await one.call("PUT", `/admin/reports/${id}/status`, { status_id: id });
  }
  await one.call("POST", "/reports", { id: 4, title: "An advertisement that promises doubled money to whoever sends some first, seen on three sites", created_by: 42 });
  await page.locator("#reports-again").click();
  await page.locator("#audit-again").click();
  await page.locator("#reports td", { hasText: "doubled money" }).waitFor();
  await page.locator("#who").fill("42");
  await page.locator("#who").press("Enter");
  await until(async () => { // acknowledgements are recorded in batches
    await page.locator(".history .link").first().click();
    expect(await page.locator(".history .explanation").first().textContent({ timeout: 1_000 })).toContain("acknowledged it");
  });
  await until(async () => expect(await figure(page, "Connections").textContent()).toBe("3"));
  await shown("user");
  await page.evaluate(() => (scrollTo(0, 0), (document.activeElement as HTMLElement).blur()));
  await shown("board");

  await page.locator('[data-list="absent"]').click();
  await row(page, "tablet-of-anna").waitFor();
  await page.locator("#connections-title").scrollIntoViewIfNeeded();
  await shown("absent");
  await page.locator('[data-act="erase"]').click();
  await page.locator("#confirm[open]").waitFor();
  await shown("erase");
  await page.keyboard.press("Escape");

  await page.evaluate(() => scrollTo(0, 0));
  await page.route(/\/admin\/stats$/, (route) => route.abort());
  await page.locator("#as-of").waitFor();
  await shown("stale");
});

test.each(screens)("the docs page's states at %i px, %s", { timeout: 120_000 }, async (...screen) => {
  const page = await open("/docs", contextFor(screen));
  const shown = (name: string) => check(page, screen, `docs/${name}`);
  await page.locator("#createNotification").waitFor();
  await shown("reference");
  await page.locator("#token").fill(operator());
  await page.locator("#token-form .primary").click();
  await page.locator("#createNotification summary").click();
  const form = page.locator("#createNotification .try");
  await form.locator("button[type=submit]").click();
  await form.locator(".answer b", { hasText: "201 Created" }).waitFor();
  await page.locator("#createNotification").evaluate((card) => card.scrollIntoView());
  await shown("try-it");
  await page.locator("#search").fill("zebra");
  await page.locator("#state", { hasText: "Nothing contains" }).waitFor();
  const foot = (await page.locator(".foot").boundingBox())!;
  expect(foot.y + foot.height).toBeGreaterThan(page.viewportSize()!.height - 60); // not in the middle of an empty page
  await shown("nothing-found");
});
