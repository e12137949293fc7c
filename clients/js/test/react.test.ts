// @vitest-environment happy-dom
import { act, createElement, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Bell, Inbox, NotificationsProvider, type Notifications, useNotifications, useUnreadCount } from "../src/react.js";
import { FakeServer, token } from "./server.js";

let server: FakeServer;
let root: Root;
const place = document.createElement("div");

function Badge() {
  return createElement("b", null, useUnreadCount());
}

function List() {
  const { notifications, readAll, state } = useNotifications();
  return createElement(
    "section",
    { "data-state": state },
    createElement("button", { onClick: () => void readAll() }),
    notifications.map((n) => createElement("p", { key: n.id }, n.title)),
  );
}

let hook: Notifications;

function Probe() {
  hook = useNotifications();
  return null;
}

const text = (selector: string) => [...place.querySelectorAll(selector)].map((n) => n.textContent);
const until = (f: () => void) => vi.waitFor(() => act(async () => f()), { timeout: 20_000 });

beforeEach(async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  server = new FakeServer();
  server.append("before");
  document.body.append(place); // custom elements work only in a document
  root = createRoot(place);
  await act(async () =>
    root.render(
      createElement(
        StrictMode,
        null,
        createElement(
          NotificationsProvider,
          { url: "http://falcon.test", getToken: () => token(1), fetch: server.fetch, live: server.live, shareTabs: false },
          createElement(Badge),
          createElement(List),
          createElement(Probe),
          createElement(Inbox, { lang: "en" }),
          createElement(Bell, { lang: "en" }),
        ),
      ),
    ),
  );
});

afterEach(async () => {
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
});

test("under StrictMode one connection remains, with history and live notifications", async () => {
  await until(() => expect(text("p")).toEqual(["before"]));
  expect(server.lives.filter((l) => !l.stopped)).toHaveLength(1);
  await act(async () => server.lives.at(-1)!.connect());
  await act(async () => void server.append("live"));
  await until(() => expect([text("p"), text("b")]).toEqual([["live", "before"], ["2"]]));
  await act(async () => place.querySelector("button")!.click());
  await until(() => expect(text("b")).toEqual(["0"]));
});

test("the connection ends on unmount", async () => {
  await until(() => expect(text("p")).toEqual(["before"]));
  await act(async () => root.render(null));
  expect(server.lives.every((l) => l.stopped)).toBe(true);
});

test("useNotifications returns error, isLoading, refetch, hasMore and fetchMore", async () => {
  await until(() => expect(hook.isLoading).toBe(false));
  expect([hook.error, hook.hasMore]).toEqual([null, false]);
  for (let i = 0; i < 60; i++) server.append(`n${i}`, false);
  server.away = true;
  await act(() => hook.refetch());
  expect(hook.error?.message).toBe("the server was not reached");
  server.away = false;
  await act(() => hook.refetch());
  expect([hook.error, hook.notifications.length]).toEqual([null, 61]);
  for (let i = 0; i < 2000; i++) server.append(`m${i}`, false);
  await act(() => hook.refetch());
  const before = hook.notifications.length;
  expect(hook.hasMore).toBe(true);
  await act(() => hook.fetchMore());
  expect(hook.notifications).toHaveLength(before + 50);
});

test("Inbox and Bell draw the provider's inbox", async () => {
  await until(() => expect(place.querySelector("falcon-inbox")?.shadowRoot?.querySelector(".title")?.textContent).toBe("before"));
  expect(place.querySelector("falcon-bell")?.shadowRoot?.querySelector(".badge")?.textContent).toBe("1");
});
