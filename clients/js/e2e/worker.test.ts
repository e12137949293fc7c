import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, CDPSession, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { launch, launchProfile } from "./chromium.js";
import { Program } from "./program.js";
import { PushService, type Subscription } from "./pushservice.js";

const dir = mkdtempSync(join(tmpdir(), "falcon-worker-"));
const program = new Program();
let service: PushService;
let site: Server; // of an application, with a worker of its own
let origin: string;
let browser: Browser;
let context: BrowserContext;

/** The application's page and worker. */
function answer(path: string | undefined): [type: string, text: string] {
  if (path === "/sw.js")
    return ["text/javascript", `self.falconbridgeIcon = "/icon.png"; importScripts("${program.url}/client/worker.js"); self.addEventListener("fetch", () => {});`];
  return ["text/html", `<!doctype html><title>app</title><button>notify me</button><script type="module">
    import { connect } from "${program.url}/client/index.js";
    const token = location.hash.slice(1);
    window.inbox = connect({ url: "${program.url}", getToken: () => token, push: { serviceWorker: "/sw.js" } });
    document.querySelector("button").onclick = () => inbox.push.enable().then(() => (document.title = inbox.push.state), (e) => (document.title = e.message));
  </script>`];
}

beforeAll(async () => {
  site = createServer((request, response) => {
    const [type, text] = answer(request.url);
    response.writeHead(200, { "Content-Type": type }).end(text);
  }).listen(0, "127.0.0.1");
  await new Promise((done) => site.once("listening", done));
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  service = await PushService.start(dir);
  program.env = { SSL_CERT_FILE: service.certificate };
  await program.build("--vapid-key-file", program.vapidKey(), "--vapid-contact", "mailto:ops@example.com", "--push-hosts", service.host, "--push-after", "1s",
    "--cors-origins", origin);
  browser = await launch();
});

afterEach(() => context?.close());

afterAll(async () => {
  await browser?.close();
  await program.close();
  site?.close();
  service?.close();
  rmSync(dir, { recursive: true, force: true });
});

const until = (f: () => void | Promise<void>) => vi.waitFor(f, { timeout: 40_000, interval: 100 });

/** The subscriptions that the browser made, newest last; null after it ended one. */
let made: (Subscription | null)[];

/**
* A browser profile whose Web Push is that of the test's push service, because Chromium's needs Google. What
* the page subscribes to and ends is real there; everything else is the browser's.
 */
async function profile(permissions: string[] = ["notifications"]): Promise<BrowserContext> {
  made = [];
  context = await browser.newContext({ permissions, locale: "en" });
  await context.exposeFunction("subscribeThere", async (key: string) => {
    const of = await service.subscribe(key);
    made.push(of);
    return of;
  });
  await context.exposeFunction("endThere", async () => {
    await service.expire(made.at(-1)!);
    made.push(null);
  });
  await context.addInitScript(() => {
    const there = globalThis as unknown as { subscribeThere(key: string): Promise<{ endpoint: string; keys: object }>; endThere(): Promise<void> };
    type Stored = { endpoint: string; keys: object; key: string };
    const stored = (): Stored | null => JSON.parse(localStorage.getItem("test.subscription") ?? "null") as Stored | null;
    const subscription = ({ endpoint, keys, key }: Stored) => ({
      endpoint, toJSON: () => ({ endpoint, keys }),
      options: { applicationServerKey: Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)).buffer },
      unsubscribe: async () => {
        await there.endThere();
        localStorage.removeItem("test.subscription");
        return true;
      },
    });
    Object.assign(PushManager.prototype, {
      getSubscription: async () => (stored() ? subscription(stored()!) : null),
      subscribe: async ({ applicationServerKey }: { applicationServerKey: Uint8Array }) => {
        const key = btoa(String.fromCharCode(...applicationServerKey)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
        localStorage.setItem("test.subscription", JSON.stringify({ ...(await there.subscribeThere(key)), key }));
        return subscription(stored()!);
      },
    });
    const ask = Notification.requestPermission.bind(Notification);
    Object.assign(globalThis, { asked: 0 });
    Notification.requestPermission = () => {
      (globalThis as unknown as { asked: number }).asked++;
      return ask();
    };
  });
  return context;
}

async function open(user: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${program.url}/#token=${program.token("--user", user)}`);
  await page.waitForSelector('#connection[data-state="live"]');
  return page;
}

/** Presses the switch for pushes and waits until it has the wanted state. */
async function turn(page: Page, on: boolean): Promise<void> {
  if (!(await page.isVisible("#alerts-push"))) await page.click("#alerts-open");
  await page.click("#alerts-push");
  await page.waitForSelector(`#alerts-push[aria-checked="${on}"]`);
}

type Device = { client_id: string; push: boolean; session: boolean; connected: boolean };
async function devices(user: string): Promise<Device[]> {
  const answer = await fetch(`${program.url}/devices`, { headers: { Authorization: `Bearer ${program.token("--user", user)}` } });
  return (await answer.json()) as Device[];
}

const notify = (user: number, title: string, more: object = {}) =>
  program.call("POST", "/notifications", { title, message: "text", created_by: user, ...more });

/**
 * Hands messages to the page's service worker, as Chromium does, and waits until it has
* shown them or not. Polling getNotifications() instead would lose some: Chromium loses
* a notification whose showNotification() overlaps with it.
 */
async function deliverer(page: Page, at = program.url): Promise<(...messages: string[]) => Promise<void>> {
  const devtools: CDPSession = await context.newCDPSession(page);
  let registrationId = "";
  devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
    registrationId = registrations.find((r) => !r.isDeleted)?.registrationId ?? registrationId;
  });
  await devtools.send("ServiceWorker.enable");
  await until(() => expect(registrationId).not.toBe(""));
  const worker = context.serviceWorkers().find((w) => w.url().startsWith(at))!;
  type Handled = { pushes: number; handled: Promise<unknown> };
  await worker.evaluate(() => {
    const there = Object.assign(globalThis as unknown as Handled, { pushes: 0, handled: Promise.resolve() as Promise<unknown> });
    const { prototype } = (globalThis as unknown as { ExtendableEvent: { prototype: { waitUntil(p: Promise<unknown>): void } } }).ExtendableEvent;
    const { waitUntil } = prototype;
    prototype.waitUntil = function (promise) {
      there.handled = Promise.allSettled([there.handled, promise]);
      waitUntil.call(this, promise);
    };
    addEventListener("push", () => there.pushes++); // after the worker's own listener
  });
  const pushes = () => worker.evaluate(() => (globalThis as unknown as Handled).pushes);
  return async (...messages) => {
    const before = await pushes();
    await Promise.all(messages.map((data) => devtools.send("ServiceWorker.deliverPushMessage", { origin: at, registrationId, data })));
    await until(async () => expect(await pushes()).toBe(before + messages.length));
    await worker.evaluate(async () => void (await (globalThis as unknown as Handled).handled));
  };
}

type Shown = { title: string; body: string; tag: string; navigate: string };
const shown = (page: Page): Promise<Shown[]> =>
  page.evaluate(async () => {
    const list = await (await navigator.serviceWorker.ready).getNotifications();
    return list.map(({ title, body, tag, data }) => ({ title, body, tag, navigate: (data as { navigate: string }).navigate }));
  });

const hide = (page: Page, hidden: boolean) =>
  page.evaluate((state) => Object.defineProperty(document, "visibilityState", { value: state, configurable: true }), hidden ? "hidden" : "visible");

test("the worker shows a push while the page is closed, and permission is asked for only by a press", async () => {
  await profile();
  const page = await open("1");
  const asked = () => page.evaluate(() => (globalThis as unknown as { asked: number }).asked);
  expect([await asked(), made.length]).toEqual([0, 0]);
  await turn(page, true);
  expect(await asked()).toBe(1);
  let device: Device | undefined;
  await until(async () => {
    [device] = await devices("1");
    expect(device).toMatchObject({ push: true, session: true, connected: true });
  });

  // The open tab acknowledges; after it is closed, nothing does.
  await notify(1, "seen live");
  await page.waitForSelector('#inbox :text-is("seen live")');
  await page.goto("about:blank");
  await notify(1, "late", { url: "/reports/7" });
  let messages: string[] = [];
  await until(async () => expect((messages = await service.messages(made[0]!))).toHaveLength(1));
  expect(JSON.parse(messages[0]!)).toMatchObject({ web_push: 8030, notification: { title: "late", body: "text", navigate: "/reports/7" } });

  const other = await context.newPage(); // of the same origin, but not an inbox
  await other.goto(`${program.url}/docs`);
  const deliver = await deliverer(other);
  await deliver(messages[0]!);
  expect(await shown(other)).toEqual([
    { title: "late", body: "text", tag: expect.stringMatching(/^falconbridge-\d+$/), navigate: "/reports/7" },
  ]);
  await deliver("not JSON"); // not one of falconbridge
  await deliver(JSON.stringify({ web_push: 8030, notification: { title: "5 more", navigate: "/", data: { summary: 6, last_seq: 9 } } }));
  expect((await shown(other)).map((n) => n.title).sort()).toEqual(["5 more", "late"]);

  // The same browser later is the same device.
  const again = await open("1");
  await until(async () => expect((await devices("1")).filter((d) => d.push)).toEqual([expect.objectContaining({ client_id: device!.client_id, connected: true })]));
  await again.click("#alerts-open");
  await again.waitForSelector('#alerts-push[aria-checked="true"]');
});

test("a burst of pushes is shown completely", async () => {
  await profile();
  const page = await open("9");
  await turn(page, true);
  const deliver = await deliverer(page);
  await page.goto("about:blank");
  const other = await context.newPage();
  await other.goto(`${program.url}/docs`);
  const message = (seq: number) => JSON.stringify({ web_push: 8030, notification: { title: `n${seq}`, body: "", navigate: "/", data: { id: seq, seq, created_by: 9 } } });
  const all = Array.from({ length: 20 }, (_, i) => i + 1);
  await deliver(...all.map(message));
  expect((await shown(other)).map((n) => n.title).sort()).toEqual(all.map((seq) => `n${seq}`).sort());
});

test("the worker shows nothing that a visible page has, unlike a hidden one", async () => {
  await profile();
  const page = await open("2");
  await turn(page, true);
  await notify(2, "one");
  await page.waitForSelector('#inbox :text-is("one")');
  const deliver = await deliverer(page);
  const message = (title: string, seq: number) => JSON.stringify({ web_push: 8030, notification: { title, body: "", navigate: "/", data: { id: seq, seq, created_by: 2 } } });
  await deliver(message("visible", 1));
  expect(await shown(page)).toEqual([]);
  await deliver(message("not there yet", 2));
  expect((await shown(page)).map((n) => n.title)).toEqual(["not there yet"]);
  await hide(page, true);
  await deliver(message("hidden", 1));
  expect((await shown(page)).map((n) => n.title).sort()).toEqual(["hidden", "not there yet"]);
  // Once all are read, shown notifications are closed.
  await hide(page, false);
  const { id } = (await (await fetch(`${program.url}/notifications`, { headers: { Authorization: `Bearer ${program.token("--user", "2")}` } })).json() as { id: number }[])[0]!;
  await fetch(`${program.url}/notifications/${id}/read`, { method: "POST", headers: { Authorization: `Bearer ${program.token("--user", "2")}` } });
  await until(async () => expect(await shown(page)).toEqual([]));
});

test("another user of the same browser never sees the first one's pushes", async () => {
  await profile();
  const first = await open("3");
  await turn(first, true);
  const [mine] = made;
  await first.close();

  const second = await open("4"); // only looks, and turns nothing on
  await until(() => expect(made).toEqual([mine, null]));
  await notify(3, "for the first");
  await until(async () => expect((await devices("3")).filter((d) => d.push)).toEqual([]));
  expect(await service.messages(mine!)).toEqual([]);
  await turn(second, true);
  await notify(3, "for the first, again");
  await second.goto("about:blank");
  await notify(4, "for the second");
  const theirs = made.at(-1)!;
  await until(async () => expect(await service.messages(theirs)).toHaveLength(1));
  expect((await service.messages(theirs))[0]).toContain("for the second");
  expect(await service.messages(mine!)).toEqual([]);
});

test("signing out ends the pushes", async () => {
  await profile();
  const page = await open("5");
  await turn(page, true);
  await page.keyboard.press("Escape");
  await page.click("#sign-out");
  await until(async () => expect((await devices("5")).filter((d) => d.push)).toEqual([]));
  await until(() => expect(made.at(-1)).toBeNull());
});

test("a click opens the link, or the inbox, and never a page's address", async () => {
  await profile();
  const page = await open("6");
  await turn(page, true);
  const deliver = await deliverer(page);
  await page.evaluate(() => void (location.hash = "secret"));
  await hide(page, true);
  const worker = context.serviceWorkers()[0]!;
  await worker.evaluate(() => {
    const did: string[] = [];
    Object.assign(globalThis, { did });
    const scope = globalThis as unknown as { clients: { openWindow: unknown }; WindowClient: { prototype: { focus: unknown } } };
    scope.clients.openWindow = async (url: string) => void did.push(url); // a browser wants a real click for either
    scope.WindowClient.prototype.focus = async () => void did.push("focus");
  });
  /** Returns what a click on the notification of a push does. */
  const click = async (navigate: string, data: object): Promise<string | undefined> => {
    await deliver(JSON.stringify({ web_push: 8030, notification: { title: "click", navigate, data } }));
    expect(await shown(page)).toHaveLength(1);
    await worker.evaluate(async () => {
      (globalThis as unknown as { did: string[] }).did.length = 0;
      const { registration, NotificationEvent: Click } = globalThis as unknown as
        { registration: ServiceWorkerRegistration; NotificationEvent: new (type: string, of: { notification: Notification }) => Event };
      for (const notification of await registration.getNotifications()) dispatchEvent(new Click("notificationclick", { notification }));
    });
    await until(async () => expect(await shown(page)).toEqual([]));
    let did: string[] = [];
    await vi.waitFor(async () => {
      did = await worker.evaluate(() => (globalThis as unknown as { did: string[] }).did);
      expect(did).toHaveLength(1);
    }, { timeout: 5_000, interval: 50 }).catch(() => {});
    expect(did.join()).not.toContain("secret");
    return did[0];
  };
  expect(await click("/reports/7", { id: 1, seq: 99, url: "/reports/7" })).toBe(`${program.url}/reports/7`);
  expect(await click("https://app.example.com/x", { id: 2, seq: 99, url: "https://app.example.com/x" })).toBe("https://app.example.com/x");
  expect(await click("/", { id: 3, seq: 99, created_by: 6 })).toBe("focus");
  expect(await click("/", { id: 3, seq: 99, created_by: 7 })).toBe(`${program.url}/`); // another user's inbox is open
  expect(await click("javascript:alert(1)", { id: 4, seq: 99, url: "javascript:alert(1)" })).toBeUndefined();
  await page.goto("about:blank");
});

test("an application's own worker shows pushes", async () => {
  await profile();
  const page = await context.newPage();
  await page.goto(`${origin}/#${program.token("--user", "8")}`);
  await page.click("button");
  await until(async () => expect(await page.title()).toBe("on"));
  expect((await devices("8")).filter((d) => d.push)).toHaveLength(1);
  const deliver = await deliverer(page, origin);
  await deliver(JSON.stringify({ web_push: 8030, notification: { title: "own worker", body: "", navigate: "/", data: { id: 1, seq: 99, created_by: 8 } } }));
  expect((await shown(page)).map((n) => n.title)).toEqual(["own worker"]);
  expect(await page.evaluate(async () => (await (await navigator.serviceWorker.ready).getNotifications())[0]!.icon)).toBe(`${origin}/icon.png`);
});

test("the page can be installed", async () => {
  // In a profile of its own: the others are incognito, where nothing can be installed.
  context = await launchProfile(join(dir, "profile"));
  const page = await open("6");
  const devtools = await context.newCDPSession(page);
  const { errors, url, data } = (await devtools.send("Page.getAppManifest")) as { errors: unknown[]; url: string; data?: string };
  expect([errors, url]).toEqual([[], `${program.url}/manifest.webmanifest`]);
  expect(JSON.parse(data!)).toMatchObject({ name: "falconbridge", display: "standalone", start_url: "./" });
  expect(await devtools.send("Page.getInstallabilityErrors")).toEqual({ installabilityErrors: [] });
});

test("the policy lets the page register its worker, and no other script", async () => {
  await profile();
  const page = await open("7");
  const refused = await page.evaluate(async () => {
    const out: string[] = [];
    for (const act of [
      () => navigator.serviceWorker.register("/worker.js"), // a string: Trusted Types
      () => (globalThis as unknown as { trustedTypes: { createPolicy(name: string, rules: object): unknown } }).trustedTypes.createPolicy("another", {}),
    ])
      try {
        await act();
        out.push("allowed");
      } catch (error) {
        out.push((error as Error).name);
      }
    return out;
  });
  expect(refused).toEqual(["TypeError", "TypeError"]);
  await turn(page, true);
});
