// @vitest-environment happy-dom
import { act, createElement } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Inbox, type Options } from "../src/index.js";
import type { LiveEvents, LiveOptions } from "../src/live.js";
import { NotificationsProvider, usePush, type WebPush } from "../src/react.js";
import { FakeServer, token } from "./server.js";

const key = "BPushKey";
let server: FakeServer;
let calls: string[];
let ids: (string | undefined)[]; // of the live connections
let subscribed: { unsubscribe(): Promise<boolean> } | null;
let scripts: string[];
let permission: NotificationPermission;
const open: Inbox[] = [];

const bytes = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

beforeEach(() => {
  localStorage.clear();
  [calls, ids, scripts, subscribed, permission] = [[], [], [], null, "default"];
  server = new FakeServer();
  const pushManager = {
    getSubscription: async () => subscribed,
    subscribe: async ({ applicationServerKey }: { applicationServerKey: Uint8Array }) =>
      (subscribed = {
        unsubscribe: async () => ((subscribed = null), true), endpoint: "https://push.example/1", options: { applicationServerKey: applicationServerKey.buffer },
        toJSON: () => ({ endpoint: "https://push.example/1", keys: { p256dh: "p", auth: "a" } }),
      } as never),
  };
  const registration = { active: { state: "activated", addEventListener() {} }, installing: null, waiting: null, pushManager, getNotifications: async () => [] };
  vi.stubGlobal("PushManager", class {});
  vi.stubGlobal("Notification", { get permission() { return permission; }, requestPermission: vi.fn(async () => (permission = "granted")) });
  vi.stubGlobal("navigator", {
    userAgent: "test", onLine: true,
    locks: { request: (_: string, __: object, acquired: () => Promise<void>) => Promise.resolve().then(acquired) },
    serviceWorker: {
      addEventListener() {}, removeEventListener() {}, startMessages() {}, getRegistration: async () => registration,
      register: async (url: string) => (scripts.push(new URL(url).pathname), registration),
    },
  });
});

afterEach(() => {
  for (const inbox of open.splice(0)) inbox.close();
  vi.unstubAllGlobals();
});

const options = (user: number, more: Partial<Options> = {}): Options => ({
  url: "http://falcon.test", getToken: () => token(user), push: true,
  live: (o: LiveOptions, events: LiveEvents) => (ids.push(o.clientId), server.live(o, events)),
  fetch: async (input, init) => {
    const call = `${init?.method} ${new URL(String(input)).pathname}`;
    if (call === "GET /push/key") return Response.json({ vapid_public_key: key });
    if (!call.includes("/devices/")) return server.fetch(input, init);
    calls.push(`${call}${init?.body ? ` ${String(init.body)}` : ""}`);
    return new Response(null, { status: 204 });
  },
  ...more,
});

async function start(user: number, more: Partial<Options> = {}): Promise<Inbox> {
  const before = ids.length;
  const inbox = connect(options(user, more));
  open.push(inbox);
  await vi.waitFor(() => expect([ids.length, inbox.loaded]).toEqual([before + 1, true]));
  return inbox;
}

const until = (f: () => void) => vi.waitFor(f, { timeout: 20_000 });

test("the browser is one device of the user, which keeps its cursor", async () => {
  await start(1);
  await start(1);
  await start(2);
  expect(ids[0]).toMatch(/^js-[0-9a-f-]{36}$/);
  expect([ids[1], ids[2] === ids[0]]).toEqual([ids[0], false]);
  await start(1, { push: false });
  await start(1, { shareTabs: false });
  expect(ids.slice(3)).toEqual([undefined, undefined]);
});

test("permission is asked for by enable only, and the browser registers again at each start", async () => {
  const inbox = await start(1);
  expect([inbox.push!.state, Notification.requestPermission, calls]).toEqual(["off", expect.objectContaining({}), []]);
  expect(Notification.requestPermission).not.toHaveBeenCalled();
  await inbox.push!.enable();
  const put = `PUT /devices/${ids[0]} {"push":{"endpoint":"https://push.example/1","keys":{"p256dh":"p","auth":"a"}}}`;
  expect([inbox.push!.state, calls, scripts]).toEqual(["on", [put], ["/worker.js"]]);
  inbox.close();
  const again = await start(1);
  await until(() => expect([again.push!.state, calls]).toEqual(["on", [put, put]])); // with the current token
  await again.push!.test();
  await again.push!.disable();
  expect([again.push!.state, calls.slice(2), subscribed]).toEqual(["off", [`POST /devices/${ids[0]}/test`, `DELETE /devices/${ids[0]}`], null]);
});

test("disabling also works if the server has removed the registration", async () => {
  const fetch: Options["fetch"] = async (input, init) =>
    init?.method === "DELETE" ? Response.json({ title: "Not found" }, { status: 404 }) : options(1).fetch!(input, init);
  const inbox = await start(1, { fetch });
  await inbox.push!.enable();
  await inbox.push!.disable();
  expect([inbox.push!.state, subscribed]).toEqual(["off", null]);
});

test("the application's icon shows how many are unread", async () => {
  const badges: (number | null)[] = [];
  Object.assign(navigator, { setAppBadge: async (n: number) => void badges.push(n), clearAppBadge: async () => void badges.push(null) });
  const first = server.append("one");
  const inbox = await start(1);
  expect(badges.at(-1)).toBe(1);
  await inbox.read(first.id);
  expect(badges.at(-1)).toBeNull();
});

test("without permission nothing is registered", async () => {
  const inbox = await start(1);
  vi.mocked(Notification.requestPermission).mockImplementation(async () => (permission = "denied"));
  await expect(inbox.push!.enable()).rejects.toThrow("not allowed");
  expect([inbox.push!.state, calls, subscribed]).toEqual(["denied", [], null]);
});

test("another user's subscription ends, even without a stored user", async () => {
  const first = await start(1);
  await first.push!.enable();
  first.close();
  const second = await start(2);
  await until(() => expect(subscribed).toBeNull());
  expect([second.push!.state, calls.length]).toEqual(["off", 1]);
  await second.push!.enable();
  expect(calls.length).toBe(2);
  second.close();
  for (const name of Object.keys(localStorage)) localStorage.removeItem(name);
  await start(1);
  await until(() => expect(subscribed).toBeNull());
});

test("an application's subscription with its own key is left alone", async () => {
  const other = { unsubscribe: vi.fn(), options: { applicationServerKey: bytes("b3duIGtleQ==").buffer } };
  subscribed = other;
  const inbox = await start(1);
  await inbox.push!.resume();
  expect(other.unsubscribe).not.toHaveBeenCalled();
});

test("an application's own worker is registered; usePush turns it on", async () => {
  let hook: WebPush;
  const Probe = () => ((hook = usePush()), null);
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  const root = createRoot(document.createElement("div"));
  const draw = (push: Options["push"]) =>
    act(async () => root.render(createElement(NotificationsProvider, options(1, push === undefined ? { push: false } : { push }), createElement(Probe))));
  await draw(undefined);
  expect(hook!.state).toBe("unsupported");
  await draw({ serviceWorker: "/app/sw.js" });
  await until(() => expect(hook!.state).toBe("off"));
  await act(() => hook!.enable());
  expect([hook!.state, scripts]).toEqual(["on", ["/app/sw.js"]]);
  await act(() => hook!.disable());
  expect(hook!.state).toBe("off");
  await act(async () => root.unmount());
});
