// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Inbox, type Notification } from "../src/index.js";
import { urlOf } from "../src/list.js";
import { InboxView } from "../src/view.js";
import { badge, language } from "../src/words.js";
import { FakeServer, token } from "./server.js";

let server: FakeServer;
let inbox: Inbox;
let view: InboxView;
let opened: string[];
const place = document.createElement("div");
const settle = () => vi.advanceTimersByTimeAsync(0);
const all = (selector: string) => [...place.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => all(selector)[0]!;
const titles = () => all(".item .title").map((n) => n.textContent);

async function open(lang: "es" | "en" = "en", tokens = [token(1)]): Promise<void> {
  inbox = connect({ url: "http://falcon.test", getToken: () => (tokens.length > 1 ? tokens.shift()! : tokens[0]!), fetch: server.fetch, live: server.live, shareTabs: false });
  view = new InboxView(place, inbox, { lang, open: (item, url) => opened.push(`${item.title} ${url.href}`) > 0 });
  await settle();
  server.lives[0]!.connect();
  await settle();
}

beforeEach(() => {
  vi.useFakeTimers();
  document.body.append(place);
  server = new FakeServer();
  opened = [];
});

afterEach(() => {
  view.close();
  inbox.close();
  vi.useRealTimers();
});

test("a click on the link opens the url, notifies the application and marks as read", async () => {
  (server.append("order") as { url?: string }).url = "https://shop.test/orders/7";
  await open();
  one(".title a").click();
  await settle();
  expect(opened).toEqual(["order https://shop.test/orders/7"]);
  expect(one(".title a").getAttribute("rel")).toBe("noopener noreferrer");
  expect([inbox.unread, server.log[0]!.read_at === null]).toEqual([0, false]);
});

test.each(["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "https://", 7])("%s is no address to click", (url) => {
  expect(urlOf({ url } as unknown as Notification, "https://app.test/")).toBeNull();
});

test("a relative url is resolved against the view's base", async () => {
  (server.append("order") as { url?: string }).url = "/orders/7";
  await open();
  view.close();
  view = new InboxView(place, inbox, { lang: "en", base: "https://app.test/inbox/" });
  expect(one(".title a").getAttribute("href")).toBe("https://app.test/orders/7");
});

test("a notification's text is never parsed as markup", async () => {
  server.append("<img src=x onerror=alert(1)>");
  await open();
  expect(place.querySelector(".item img")).toBeNull();
  expect(titles()).toEqual(["<img src=x onerror=alert(1)>"]);
});

test("one can be marked read and unread again", async () => {
  server.append("a");
  await open();
  one(".act").click();
  await settle();
  expect([inbox.unread, one(".act").title]).toEqual([0, "Mark unread"]);
  one(".act").click();
  await settle();
  expect([inbox.unread, one(".act").title, server.log[0]!.read_at]).toEqual([1, "Mark read", null]);
});

test("deleting needs no confirmation and can be undone for a while", async () => {
  server.append("a");
  server.append("b");
  await open();
  one(".remove").click();
  expect([titles(), one(".said").textContent]).toEqual([["a"], "Notification deletedUndo"]);
  one(".said button").click();
  expect(titles()).toEqual(["b", "a"]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(server.log).toHaveLength(2);
  one(".remove").click();
  await vi.advanceTimersByTimeAsync(9_000);
  expect(server.log.map((n) => n.title)).toEqual(["a"]);
  expect(one(".said").hasAttribute("hidden")).toBe(true);
});

test("explains what muted means, and shows the history on request", async () => {
  server.append("a");
  await open();
  one(".mute").click();
  await settle();
  expect([titles(), one(".notice").textContent]).toEqual([[], expect.stringContaining("Muted on all your devices")]);
  expect(one(".empty").hasAttribute("hidden")).toBe(true); // the inbox is not empty
  const [history, unmute] = all(".notice .outline");
  history!.click();
  await settle();
  expect(titles()).toEqual(["a"]);
  unmute!.isConnected ? unmute!.click() : all(".notice .outline")[1]!.click();
  await settle();
  expect([titles(), inbox.muted]).toEqual([["a"], false]);
});

test("a muted kind is named, and can be unmuted", async () => {
  server.append("a").kind = "marketing";
  await open();
  all(".act").find((n) => n.title === "Mute “marketing”")!.click();
  await settle();
  expect([titles(), one(".kinds").textContent]).toEqual([[], "Muted kinds: marketingUnmute “marketing”"]);
  one(".kinds button").click();
  await settle();
  expect(titles()).toEqual(["a"]);
});

test("an inbox without notifications differs from one without unread ones", async () => {
  await open("es");
  expect([one(".empty .big").textContent, one(".summary").textContent]).toEqual(["Su bandeja está vacía", ""]);
  server.append("a");
  await inbox.readAll();
  await settle();
  one(".unread-only").click();
  await settle();
  expect([one(".empty .big").textContent, one(".summary").textContent]).toEqual(["No hay notificaciones sin leer", "todo leído"]);
  one(".empty button").click();
  expect(titles()).toEqual(["a"]);
});

test("the end of a session is announced, and the list stays after it", async () => {
  server.append("a");
  const mine = token(1, 600);
  await open("en", [mine]);
  expect(one(".notice").hidden).toBe(true);
  await vi.advanceTimersByTimeAsync(545_000);
  expect(one(".notice").textContent).toContain("Your session is about to end");
  server.refuse.add(mine);
  await inbox.refresh();
  expect([inbox.state, titles()]).toEqual(["ended", ["a"]]);
  expect(one(".notice").textContent).toContain("Signed out");
});

test("the warning disappears with a new token", async () => {
  const first = token(1, 600);
  await open("en", [first, first, token(1, 600)]);
  await vi.advanceTimersByTimeAsync(545_000);
  expect(one(".notice").hidden).toBe(false);
  one(".notice button").click();
  await settle();
  expect([one(".notice").hidden, inbox.expiring, server.lives[0]!.renewed.length]).toEqual([true, null, 1]);
});

test("deleting all read ones can be undone, and spares one that is read meanwhile", async () => {
  const first = server.append("first");
  server.append("second");
  await open();
  await inbox.read(first.id);
  one(".remove-read").click();
  expect([titles(), one(".said span").textContent]).toEqual([["second"], "Read notifications deleted"]);
  expect(document.activeElement).toBe(one(".said button"));
  one(".said button").click();
  expect([titles(), server.log.length]).toEqual([["second", "first"], 2]);

  one(".remove-read").click();
  await inbox.readAll();
  await settle();
  expect([titles(), server.log.map((n) => n.title)]).toEqual([["second"], ["second"]]);
});

test("a refused deletion reappears with the reason", async () => {
  const item = server.append("a");
  await open();
  one(".remove").click();
  expect(titles()).toEqual([]);
  server.refuseWith.set(`DELETE /notifications/${item.id}`, 429);
  await vi.advanceTimersByTimeAsync(8_100);
  expect([titles(), one(".said span").textContent]).toEqual([["a"], "This did not work, so nothing was changed. refused"]);
});

test("a failed background read is not reported as a failed change, and leaves the undo", async () => {
  server.append("a");
  await open();
  one(".remove").click();
  server.refuseWith.set("GET /notifications", 503);
  await inbox.refresh().catch(() => {});
  await settle();
  expect([inbox.error === null, one(".said span").textContent, one(".said button").hidden]).toEqual([false, "Notification deleted", false]);
});

test("a badge counts to 99", () => {
  expect([0, 1, 99, 100].map(badge)).toEqual(["", "1", "99", "99+"]);
});

test("a tag leads to its language, and one without texts to English", () => {
  expect(["es", "es-MX", "ES", "en-GB", "fr", "", "toString", null, undefined].map(language)).toEqual(["es", "es", "es", "en", "en", "en", "en", "en", "en"]);
});
