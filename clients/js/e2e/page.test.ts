import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { launch } from "./chromium.js";
import { Program } from "./program.js";

// The server's inbox page, as its users see it.

const program = new Program();
const contexts: BrowserContext[] = [];
let browser: Browser;
let faults: string[] = [];

beforeAll(async () => {
  await program.build();
  browser = await launch();
});

afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
  await program.call("DELETE", "/admin/users/1");
  expect(faults.splice(0)).toEqual([]);
});

afterAll(async () => {
  await browser?.close();
  await program.close();
});

const until = (f: () => Promise<void>) => vi.waitFor(f, { timeout: 40_000, interval: 100 });

/** Opens the page in a new browser context, which is another device. */
async function device(options: BrowserContextOptions = {}, init?: () => void): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  contexts.push(context);
  if (init) await context.addInitScript(init);
  const page = await context.newPage();
  page.on("pageerror", (e) => faults.push(e.message));
  page.on("console", (m) => /Content Security Policy/.test(m.text()) && faults.push(m.text()));
  return page;
}

async function open(options: BrowserContextOptions & { token?: string } = {}, init?: () => void): Promise<Page> {
  const { token = program.token("--user", "1"), ...rest } = options;
  const page = await device(rest, init);
  await page.goto(`${program.url}/#token=${token}`);
  await page.locator('#connection[data-state="live"]').waitFor({ timeout: 40_000 });
  return page;
}

const touch: BrowserContextOptions = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const notify = (draft: Record<string, unknown>) => program.call("POST", "/notifications", { title: "t", message: "m", created_by: 1, ...draft });
const batch = (drafts: Record<string, unknown>[]) =>
  program.call("POST", "/notifications/batch", { notifications: drafts.map((draft) => ({ title: "t", message: "m", created_by: 1, ...draft })) });
const titles = (page: Page) => page.locator(".item .title").allTextContents();
const shows = (page: Page, wanted: string[]) => until(async () => expect(await titles(page)).toEqual(wanted));
const counts = async () => (await (await fetch(`${program.url}/notifications/count`, { headers: { Authorization: `Bearer ${program.token("--user", "1")}` } })).json()) as { total: number; unread: number };
const badge = (page: Page) => page.locator("#badge").textContent();

/** Presses an action of the notification with that title. */
async function act(page: Page, title: string, name: string): Promise<void> {
  const item = page.locator(".item", { has: page.locator(".title", { hasText: title }) });
  await item.hover();
  await item.getByRole("button", { name, exact: true }).click();
}

test("two devices agree on what is read, unread, deleted and muted, without reloading", async () => {
  await batch([{ title: "a" }, { title: "b" }]);
  const [one, other] = [await open(), await open()];
  for (const page of [one, other]) await shows(page, ["b", "a"]);
  await act(one, "b", "Mark read");
  await until(async () => expect(await badge(other)).toBe("1"));
  await act(other, "b", "Mark unread");
  await until(async () => expect(await badge(one)).toBe("2"));
  await one.locator(".mark-all").click();
  await until(async () => expect(await badge(other)).toBe(""));
  await act(other, "a", "Delete");
  await shows(one, ["b"]);
  await one.locator(".mute").click();
  await until(async () => expect(await other.locator(".notice").first().textContent()).toContain("Muted on all your devices"));
  await shows(other, []);
  await other.getByRole("button", { name: "Unmute" }).click();
  await shows(one, ["b"]);
});

test("a click on a notification opens its url and marks it as read", async () => {
  await batch([{ title: "here", url: "/healthz" }, { title: "elsewhere", url: "https://shop.example/orders/7" }]);
  const page = await open();
  await page.context().route("https://shop.example/**", (route) => route.fulfill({ contentType: "text/html", body: "<title>shop</title>" }));
  const opened = page.context().waitForEvent("page");
  await page.getByRole("link", { name: "elsewhere" }).click();
  const shop = await opened;
  await shop.waitForURL("https://shop.example/orders/7");
  expect(await shop.evaluate(() => [document.referrer, window.opener])).toEqual(["", null]);
  await until(async () => expect(await badge(page)).toBe("1"));
  await page.getByRole("link", { name: "here", exact: true }).click();
  await page.waitForURL(`${program.url}/healthz`);
  await until(async () => expect((await counts()).unread).toBe(0)); // although the page is left at once
});

test("deleting needs no confirmation, can be undone, and is completed when the page is left", async () => {
  await batch([{ title: "a" }, { title: "b" }]);
  const page = await open();
  await act(page, "b", "Delete");
  await shows(page, ["a"]);
  expect(await page.locator("dialog[open]").count()).toBe(0);
  await page.getByRole("button", { name: "Undo" }).click();
  await shows(page, ["b", "a"]);
  expect((await counts()).total).toBe(2);
  await act(page, "a", "Delete");
  await shows(page, ["b"]);
  await page.goto("about:blank");
  await until(async () => expect((await counts()).total).toBe(1));
});

test("the unread filter shows unread ones, and marking as unread brings one back", async () => {
  await batch([{ title: "a" }, { title: "b" }]);
  const page = await open();
  await act(page, "a", "Mark read");
  await page.getByRole("button", { name: "Unread", exact: true }).click();
  await shows(page, ["b"]);
  await act(page, "b", "Mark read");
  await until(async () => expect(await page.locator(".empty .big").textContent()).toBe("No unread notifications"));
  await page.getByRole("button", { name: "Show all" }).click();
  await shows(page, ["b", "a"]);
  await act(page, "a", "Mark unread");
  await until(async () => expect(await badge(page)).toBe("1"));
  expect(await counts()).toMatchObject({ total: 2, unread: 1 });
});

test("1280 × 800 shows nine notifications, however long, with the badge at 99+", async () => {
  await batch(Array.from({ length: 120 }, (_, i) => ({ title: `Report ${i} was approved`, message: `Your report ${"has been looked at, ".repeat(30)}and approved.\nSecond line` })));
  const page = await open();
  await page.locator(".expand").first().waitFor();
  const whole = await page.locator(".item").evaluateAll((all) => all.filter((n) => n.getBoundingClientRect().bottom <= innerHeight).length);
  expect(whole).toBeGreaterThanOrEqual(9);
  expect([await badge(page), await page.title()]).toEqual(["99+", "(99+) Inbox · falconbridge"]);
  expect(await page.locator("#bell").getAttribute("aria-label")).toContain("120"); // the number is exact for screen readers

  const item = page.locator(".item").first();
  const height = () => item.evaluate((n) => n.getBoundingClientRect().height);
  const clamped = await height();
  await item.getByRole("button", { name: "More" }).click();
  expect(await height()).toBeGreaterThan(2 * clamped);
  await item.getByRole("button", { name: "Less" }).click();
  expect(await height()).toBe(clamped);
});

test("times are relative, with the full time on hover", async () => {
  await notify({ title: "a" });
  const page = await open();
  await shows(page, ["a"]);
  const time = page.locator(".item time");
  expect(await time.textContent()).toBe("now");
  expect(await time.getAttribute("title")).toMatch(/^\w+, \w+ \d+, \d{4} at \d+:\d{2}:\d{2}/);
  await page.clock.install();
  await page.reload();
  await page.locator('#connection[data-state="live"]').waitFor();
  await page.clock.fastForward("03:05");
  await until(async () => expect(await time.textContent()).toBe("3 min. ago"));
});

test("actions appear on hover and on focus", async () => {
  await notify({ title: "a" });
  const page = await open();
  await shows(page, ["a"]);
  const seen = () => page.locator(".item .acts").evaluate((n) => getComputedStyle(n).opacity);
  await page.mouse.move(0, 0);
  expect(await seen()).toBe("0");
  await page.locator(".item").hover();
  expect(await seen()).toBe("1");
  await page.mouse.move(0, 0);
  expect(await seen()).toBe("0");
  await page.locator(".item").focus();
  expect(await seen()).toBe("1");
});

test("on a touch screen every control is visible without hovering, 44 px large, and nothing scrolls sideways", async () => {
  await batch([{ title: "a", kind: "order", url: "/healthz", message: "word ".repeat(90) }, { title: "b" }]);
  const page = await open(touch);
  await shows(page, ["b", "a"]);
  await page.locator(".expand").waitFor();
  await page.locator("#alerts-open").click();
  const small = await page.locator("button:visible, a.brand:visible").evaluateAll((all) =>
    all.map((n) => ({ name: n.getAttribute("aria-label") ?? n.textContent, ...n.getBoundingClientRect().toJSON() })).filter((r) => r.width < 44 || r.height < 44).map((r) => `${r.name} ${r.width} × ${r.height}`));
  expect(small).toEqual([]);
  expect(await page.locator(".acts .act:visible").count()).toBe(5);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});

test("a toast shows only a notification that is not visible", async () => {
  await batch(Array.from({ length: 40 }, (_, i) => ({ title: `n${i}` })));
  const page = await open();
  await notify({ title: "in sight" });
  await page.locator(".item", { hasText: "in sight" }).waitFor();
  await until(async () => expect(await page.locator("#announcer").textContent()).toBe("New notification: in sight"));
  expect(await page.locator(".toast").count()).toBe(0);
  await page.evaluate(() => scrollTo(0, 900));
  await notify({ title: "above" });
  const toast = page.locator(".toast", { hasText: "above" });
  await toast.getByRole("button", { name: "above" }).click();
  expect(await page.evaluate(() => document.activeElement?.querySelector(".title")?.textContent)).toBe("above");
  await until(async () => expect(await page.locator(".toast").count()).toBe(0));
});

test("an empty inbox says that it is empty", async () => {
  const page = await open();
  await until(async () => expect(await page.locator(".empty .big").textContent()).toBe("Your inbox is empty"));
  expect(await page.locator(".summary").textContent()).toBe("");
  await notify({ title: "first" });
  await shows(page, ["first"]);
  expect(await page.locator(".empty").isVisible()).toBe(false);
});

test("mute explains what it does, and shows the history on request", async () => {
  await notify({ title: "before" });
  const page = await open();
  await shows(page, ["before"]);
  const mute = page.locator(".mute");
  expect(await mute.getAttribute("title")).toContain("Muted, no notification is shown, announced or sent to any of your devices");
  await mute.click();
  await shows(page, []);
  expect(await page.locator(".notice").first().textContent()).toContain("New notifications are kept but neither shown, announced nor sent until you unmute.");
  expect(await page.locator("#bell-icon").getAttribute("href")).toBe("#i-bell-off");
  await notify({ title: "meanwhile" });
  await page.getByRole("button", { name: "Show history" }).click();
  await shows(page, ["meanwhile", "before"]);
  expect(await page.locator(".toast").count()).toBe(0);
  await page.getByRole("button", { name: "Hide history" }).click();
  await shows(page, []);
  await page.getByRole("button", { name: "Unmute" }).click();
  await shows(page, ["meanwhile", "before"]);
});

test.each([
  ["", []],
  ["notifications:write", ["docs"]],
  ["reports:write", ["docs"]],
  ["admin", ["docs", "console"]],
])("scope %j has links to %j", async (scope, links) => {
  const page = await open({ token: program.token("--user", "1", ...(scope ? ["--scope", scope] : [])) });
  expect(await page.locator(".foot nav a:visible").evaluateAll((all) => all.map((n) => n.getAttribute("href")))).toEqual(links);
});

/** Counts the page's calls of the browser instead of showing anything. */
function record(): void {
  const seen = { asked: 0, shown: [] as string[], notes: 0 };
  class Recorded extends EventTarget {
    static permission = "default";
    static async requestPermission(): Promise<string> {
      seen.asked++;
      return (Recorded.permission = "granted");
    }
    constructor(title: string, options: { body: string }) {
      super();
      seen.shown.push(`${title}: ${options.body}`);
    }
    close(): void {}
  }
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (when) {
    seen.notes++;
    start.call(this, when);
  };
  Object.assign(window, { Notification: Recorded, seen });
}
const seen = (page: Page) => page.evaluate(() => (window as unknown as { seen: { asked: number; shown: string[]; notes: number } }).seen);

test("the browser is asked for permission when the switch is pressed, not before, and notifies while the page is hidden", async () => {
  const page = await open({}, record);
  await notify({ title: "a" });
  await shows(page, ["a"]);
  expect(await seen(page)).toEqual({ asked: 0, shown: [], notes: 0 });
  await page.locator("#alerts-open").click();
  const on = page.getByRole("switch", { name: "Browser notifications" });
  await on.click();
  await until(async () => expect(await on.getAttribute("aria-checked")).toBe("true"));
  expect((await seen(page)).asked).toBe(1);
  await notify({ title: "looked at" });
  await shows(page, ["looked at", "a"]);
  expect((await seen(page)).shown).toEqual([]);
  await page.evaluate(() => {
    document.hasFocus = () => false;
  });
  await notify({ title: "not looked at" });
  await until(async () => expect((await seen(page)).shown).toEqual(["not looked at: m"]));
  await on.click();
  await notify({ title: "off" });
  await page.locator(".item", { hasText: "off" }).waitFor();
  expect(await seen(page)).toEqual({ asked: 1, shown: ["not looked at: m"], notes: 0 });
});

test("a sound is played once it is switched on", async () => {
  const page = await open({}, record);
  await page.locator("#alerts-open").click();
  await page.getByRole("switch", { name: "Sound" }).click();
  expect((await seen(page)).notes).toBe(2); // a preview
  await notify({ title: "a" });
  await until(async () => expect((await seen(page)).notes).toBe(4));
});

test("if the browser blocks notifications, the switch says so and asks for nothing", async () => {
  const page = await open({}, () => Object.defineProperty(Notification, "permission", { value: "denied" }));
  await page.locator("#alerts-open").click();
  expect(await page.getByRole("switch", { name: "Browser notifications" }).isDisabled()).toBe(true);
  expect(await page.locator("#alerts-browser-hint").textContent()).toBe("Blocked for this page in the browser's settings.");
});

test("the expiry of a token is announced, only the same user can replace it, and the list stays", async () => {
  await notify({ title: "kept" });
  const page = await open({ token: program.token("--user", "1", "--ttl", "20s") });
  await shows(page, ["kept"]);
  const notice = page.locator(".notice").first();
  await until(async () => expect(await notice.textContent()).toContain("Your session is about to end"));
  await shows(page, ["kept"]);
  await until(async () => expect(await notice.textContent()).toContain("Signed out"));
  await shows(page, ["kept"]);
  await page.getByRole("button", { name: "Sign in again" }).click();
  const field = page.locator("#renewal-token");
  await field.fill(program.token("--user", "7"));
  await field.press("Enter");
  expect(await page.locator("#renewal-fault").textContent()).toBe("This token is user 7's, not user 1's. To switch, sign out first.");
  await notify({ title: "meanwhile" });
  await field.fill(program.token("--user", "1"));
  await field.press("Enter");
  await shows(page, ["meanwhile", "kept"]);
  await page.locator('#connection[data-state="live"]').waitFor();
  expect(await notice.isVisible()).toBe(false);
});

test("a session that is renewed in time continues without interruption", async () => {
  const first = program.token("--user", "1");
  const page = await device();
  await page.clock.install();
  const witness = await open({ token: first }); // has the first token only
  await page.goto(`${program.url}/#token=${first}`);
  await page.locator('#connection[data-state="live"]').waitFor();
  await page.clock.fastForward("59:10");
  await until(async () => expect(await page.locator(".notice").first().textContent()).toContain("about to end"));
  await page.evaluate(() => {
    const states: string[] = [];
    Object.assign(window, { states });
    new MutationObserver(() => states.push(document.getElementById("connection")!.dataset["state"]!)).observe(document.getElementById("connection")!, { attributeFilter: ["data-state"] });
  });
  await page.getByRole("button", { name: "Sign in again" }).click();
  await page.locator("#renewal-token").fill(program.token("--user", "1"));
  await page.getByRole("button", { name: "Continue" }).click();
  await until(async () => expect(await page.locator(".notice").first().isVisible()).toBe(false));
  const { jti } = JSON.parse(Buffer.from(first.split(".")[1]!, "base64url").toString()) as { jti: string };
  await program.call("POST", "/admin/revocations", { jti });
  await until(async () => expect(await witness.locator(".notice").first().textContent()).toContain("Signed out"));
  await notify({ title: "after" });
  await shows(page, ["after"]);
  expect((await page.evaluate(() => (window as unknown as { states: string[] }).states)).filter((s) => s !== "live")).toEqual([]);
});
