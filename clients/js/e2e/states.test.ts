import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch } from "./chromium.js";
import { check, contextFor, type Screen, screens } from "./picture.js";
import { Program } from "./program.js";

// Every state of the inbox page, wide and narrow, light and dark.

const program = new Program();
let browser: Browser;

beforeAll(async () => {
  await program.build("--locale", "en", "--vapid-key-file", program.vapidKey(), "--vapid-contact", "mailto:ops@portal.example");
  browser = await launch("--hide-scrollbars");
});

afterAll(async () => {
  await browser?.close();
  await program.close();
});

/** A user's notifications: the age of each in hours, by title. */
const ages: Record<string, number> = {
  "Your order 1042 has been shipped": 0.4,
  "Maintenance on Sunday, from 02:00 to 04:00": 3,
  "Invoice 2025-118 is ready": 26,
  "Welcome to the portal": 27,
  "New sign-in from Firefox on Linux": 50,
};

async function seed(user: number): Promise<void> {
  const draft = (title: string, message: string, more = {}) => program.call("POST", "/notifications", { title, message, created_by: user, ...more });
  await draft("New sign-in from Firefox on Linux", "If this was not you, change your password.", { kind: "security", url: "https://portal.example/sessions" });
  await draft("Welcome to the portal", "Here you find what happens to your reports and orders.");
  await draft("Invoice 2025-118 is ready", "It is due on 15 December.", { kind: "billing", url: "https://portal.example/invoices/118" });
  const token = program.token("--user", String(user));
  await fetch(`${program.url}/notifications/read`, { method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: "{}" });
  await draft(
    "Maintenance on Sunday, from 02:00 to 04:00",
    "The portal is read-only during that time. Reports that you file before are kept and are looked at on Monday; notifications are stored and delivered as soon as it is over.\nQuestions: ext. 4410.",
  );
  await draft("Your order 1042 has been shipped", "It arrives on Thursday.", { kind: "order", url: "https://portal.example/orders/1042" });
  for (const [i, title, status] of [[1, "Phishing page of a bank", 3], [2, "Stolen bicycle offered for sale", 2]] as const) {
    const id = 10 * user + i;
    await program.call("POST", "/reports", { id, title, created_by: user });
    await program.call("PUT", `/admin/reports/${id}/status`, { status_id: status });
  }
}

/** A page whose server can be slow, unavailable or without MQTT. */
class Stage {
  rest: "answers" | "waits" | "fails" = "answers";
  blocked = false;
  readonly faults: string[] = [];
  #context!: BrowserContext;
  page!: Page;

  constructor(
    private readonly user: number,
    private readonly screen: Screen,
  ) {}

  async open(): Promise<void> {
    this.#context = await browser.newContext(contextFor(this.screen));
    await this.#context.route(/\/(notifications|settings)(\?|$)/, async (route) => {
      if (this.rest === "fails") return route.abort();
      if (this.rest === "waits") return; // until the context closes
      const response = await route.fetch();
      const body = (await response.json()) as { title: string; created_at: string }[];
      if (!Array.isArray(body)) return route.fulfill({ response });
      for (const item of body) {
        const age = ages[item.title];
        if (age !== undefined) item.created_at = new Date(Date.now() - age * 3_600_000).toISOString();
      }
      return route.fulfill({ response, json: body });
    });
    await this.#context.routeWebSocket(/\/mqtt$/, (socket) => void (this.blocked ? socket.close() : socket.connectToServer()));
    this.page = await this.#context.newPage();
    this.page.on("pageerror", (e) => this.faults.push(e.message));
    this.page.on("console", (m) => /Content Security Policy/.test(m.text()) && this.faults.push(m.text()));
  }

  async enter(...token: string[]): Promise<void> {
    await this.page.goto(`${program.url}/#token=${program.token("--user", String(this.user), ...token)}`);
  }

  is(state: string): Promise<void> {
    return this.page.locator(`#connection[data-state="${state}"]`).waitFor({ timeout: 40_000 });
  }

  offline(off: boolean): Promise<void> {
    return this.#context.setOffline(off);
  }

  /** Checks the page in its current state and takes a screenshot. */
  async state(name: string, ready: string): Promise<void> {
    await this.page.locator(ready).first().waitFor({ timeout: 40_000 });
    if (this.screen[0] >= 600 && !name.includes("hover")) await this.page.mouse.move(0, 0);
    await check(this.page, this.screen, `inbox/${name}`);
  }

  async close(): Promise<void> {
    await this.#context.close();
    expect(this.faults).toEqual([]);
  }
}

// Each with its own user: after a revocation a user's new tokens are refused until the next second.
const sizes = screens.map((screen, i) => [11 + i, ...screen] as const);

test.each(sizes)("without a session, user %i at %i px, %s", { timeout: 120_000 }, async (user, width, scheme) => {
  await program.call("DELETE", `/admin/users/${user}`);
  const stage = new Stage(user, [width, scheme]);
  await stage.open();
  const { page } = stage;
  await page.goto(program.url);
  await stage.state("welcome", "#form");
  await page.locator("#token").fill("nonsense");
  await page.locator("#token").press("Enter");
  await stage.state("refused", "#fault");
  stage.rest = "waits";
  await stage.enter();
  await stage.state("loading", ".loading");
  stage.rest = "fails";
  await page.reload();
  await stage.state("unavailable-at-first", ".notice.trouble");
  stage.rest = "answers";
  await page.reload();
  await stage.is("live");
  await stage.state("empty", ".empty .big");
  await stage.close();
});

test.each(sizes)("with a session, user %i at %i px, %s", { timeout: 240_000 }, async (user, width, scheme) => {
  await program.call("DELETE", `/admin/users/${user}`);
  await seed(user);
  const stage = new Stage(user, [width, scheme]);
  await stage.open();
  const { page } = stage;
  await page.clock.install();
  await stage.enter();
  await stage.is("live");
  await stage.state("inbox", ".item");
  if (width >= 600) {
    await page.locator(".item", { hasText: "order 1042" }).hover();
    await stage.state("hover", ".item:hover .act");
  }
  await page.getByRole("button", { name: "More" }).first().click();
  await stage.state("expanded", '.expand[aria-expanded="true"]');
  await page.getByRole("button", { name: "Less" }).click();

  const order = page.locator(".item", { hasText: "order 1042" });
  await order.hover();
  await order.getByRole("button", { name: "Delete" }).click();
  await stage.state("undo", ".said button");
  await page.getByRole("button", { name: "Undo" }).click();
  await page.clock.runFor(5_000); // "Kept" disappears

  await page.locator("#alerts-open").click();
  await stage.state("alerts", "#alerts-push");
  await page.keyboard.press("Escape");
  await page.locator("#alerts-open").blur();

  await page.locator("#main").evaluate((main) => (main.style.paddingTop = "1200px"));
  await program.call("POST", "/notifications", { title: "Your password was changed", message: "By you, from the settings page.", created_by: user });
  await page.locator(".item", { hasText: "password was changed" }).waitFor();
  await page.locator("#main").evaluate((main) => (main.style.paddingTop = ""));
  await stage.state("toast", ".toast");
  await page.locator(".toast .bin").click();

  await order.hover();
  await order.getByRole("button", { name: "Mute “order”" }).click();
  await stage.state("kind-muted", ".kinds");
  await page.getByRole("button", { name: "Unmute “order”" }).click();
  await order.waitFor();

  await page.locator(".mute").click();
  await stage.state("muted", ".notice");
  await page.getByRole("button", { name: "Show history" }).click();
  await page.locator(".item").first().waitFor();
  await stage.state("muted-history", ".notice");
  await page.getByRole("button", { name: "Unmute", exact: true }).click();
  await page.locator(".item").first().waitFor();

  await page.locator(".mark-all").click();
  await page.locator(".unread-only").click();
  await stage.state("none-unread", ".empty .big");
  await page.getByRole("button", { name: "Show all" }).click();

  await page.evaluate((token) => (location.hash = `token=${token}`), program.token("--user", "7"));
  await stage.state("another-user", "#confirm[open]");
  await page.keyboard.press("Escape");

  await page.clock.fastForward("59:10");
  await stage.state("expiring", ".notice:has-text('about to end')");
  await page.getByRole("button", { name: "Sign in again" }).click();
  await stage.state("renewal", "#renewal[open]");
  await page.locator("#renewal-token").fill(program.token("--user", "7"));
  await page.locator("#renewal-token").press("Enter");
  await stage.state("renewal-refused", "#renewal-fault:not([hidden])");
  await page.locator("#renewal-no").click();
  await program.call("POST", "/admin/revocations", { user });
  await stage.is("ended");
  await stage.state("ended", ".notice.trouble");
  await stage.close();
});

test.each(sizes)("without MQTT, without a server and without a network, user %i at %i px, %s", { timeout: 120_000 }, async (user, width, scheme) => {
  await program.call("DELETE", `/admin/users/${user}`);
  const stage = new Stage(user, [width, scheme]);
  stage.blocked = true;
  await stage.open();
  const { page } = stage;
  await program.call("POST", "/notifications", { title: "Your order 1042 has been shipped", message: "It arrives on Thursday.", created_by: user });
  await page.goto(`${program.url}/#token=${program.token("--user", String(user), "--scope", "admin")}`);
  await stage.is("polling");
  await stage.state("polling", ".notice");
  stage.rest = "fails";
  await page.getByRole("button", { name: "Try now" }).click();
  await stage.is("away");
  await stage.state("unavailable", ".notice.trouble");
  await stage.offline(true);
  await page.getByRole("button", { name: "Try now" }).click();
  await stage.is("offline");
  await stage.state("offline", ".notice.trouble");
  await stage.close();
});
