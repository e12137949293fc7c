import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connect, type Inbox } from "../src/index.js";
import { FakeServer, token } from "./server.js";

let server: FakeServer;
const open: Inbox[] = [];
const settle = () => vi.advanceTimersByTimeAsync(0);
const titles = (inbox: Inbox) => inbox.list().map((n) => n.title);
const readTitles = (inbox: Inbox) => inbox.list().filter((n) => n.read_at).map((n) => n.title);

/** A device of user 1 with a connection of its own. */
async function device(live = true): Promise<Inbox> {
  const one = token(1);
  const inbox = connect({ url: "http://falcon.test", getToken: () => one, fetch: server.fetch, live: server.live, shareTabs: false });
  open.push(inbox);
  await settle();
  if (live) server.lives.at(-1)!.connect();
  await settle();
  return inbox;
}

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  for (const title of ["a", "b", "c"]) server.append(title);
});

afterEach(() => {
  for (const inbox of open.splice(0)) inbox.close();
  vi.useRealTimers();
});

describe("two devices of one user", () => {
  test("agree on what is read, unread, deleted and muted, without a request by the other", async () => {
    const [one, two] = [await device(), await device()];
    const calls = () => server.calls.length;
    const [first, second, third] = server.log.map((n) => n.id);
    await one.read(first!);
    await settle();
    expect([readTitles(two), two.unread]).toEqual([["a"], 2]);
    await two.markUnread(first!);
    await settle();
    expect([readTitles(one), one.unread]).toEqual([[], 3]);
    await one.remove(second!);
    await settle();
    expect([titles(two), two.unread]).toEqual([["c", "a"], 2]);
    const before = calls();
    await one.readAll();
    await settle();
    expect([readTitles(two), two.unread]).toEqual([["c", "a"], 0]);
    expect(calls()).toBe(before + 1);
    await two.markUnread(third!);
    await one.removeRead();
    await settle();
    expect([titles(one), titles(two), one.unread, two.unread]).toEqual([["c"], ["c"], 1, 1]);
    await one.mute();
    await settle();
    expect([two.muted, titles(two)]).toEqual([true, []]);
    await two.mute(false);
    await settle();
    expect([one.muted, titles(one)]).toEqual([false, ["c"]]);
  });

  test("a live notification that a count already includes is counted once", async () => {
    const one = await device();
    const live = server.lives[0]!;
    const item = server.append("d", false);
    server.change({ read: item.id + 1 }); // its counts are as of seq 4, which has not arrived yet
    live.events.message({ ...item }, "e1");
    await settle();
    expect([one.unread, titles(one)]).toEqual([4, ["d", "c", "b", "a"]]);
  });

  test("a state message that starts after the known rev fetches the list again", async () => {
    const one = await device();
    server.pushes = false;
    server.mark(server.log[0]!.id, true);
    server.mark(server.log[1]!.id, true);
    server.lives[0]!.events.state!(server.state(server.rev - 1), "e1");
    await settle();
    expect(readTitles(one)).toEqual(["b", "a"]);
  });

  test("an older state message has no effect", async () => {
    const one = await device();
    server.mark(server.log[0]!.id, true);
    const old = server.state(0);
    server.mark(server.log[0]!.id, false);
    await settle();
    server.lives[0]!.events.state!(old, "e1");
    await settle();
    expect([readTitles(one), one.unread]).toEqual([[], 3]);
  });

  test("a state message that arrives before the list is not lost", async () => {
    server.meanwhile = (call) => {
      if (call !== "GET /notifications") return;
      server.meanwhile = () => {};
      server.lives[0]!.up = true;
      server.delete(server.log[1]!.id);
      server.mark(server.log[0]!.id, true);
    };
    const one = await device(false);
    expect([titles(one), readTitles(one), one.unread]).toEqual([["c", "a"], ["a"], 1]);
  });

  test("a notification that was deleted before it arrived stays deleted", async () => {
    const one = await device();
    const late = server.append("late", false);
    server.append("d", false);
    server.delete(late.id);
    await settle();
    await one.refresh();
    server.lives[0]!.events.message(late, "e1");
    await settle();
    expect([titles(one), one.unread]).toEqual([["d", "c", "b", "a"], 4]);
  });

  test("changes during an absence also apply below the newest page", async () => {
    for (let i = 0; i < 200; i++) server.append(`n${i}`);
    const one = await device();
    await one.older();
    await one.older();
    server.lives[0]!.drop();
    server.mark(server.log[80]!.id, true);
    server.delete(server.log[82]!.id);
    server.lives[0]!.connect();
    await settle();
    expect(one.list().find((n) => n.seq === 81)?.read_at).toBeTruthy();
    expect(one.list().some((n) => n.seq === 83)).toBe(false);
    expect(one.list()).toHaveLength(149);
    expect(one.unread).toBe(201);
  });

  test("a server without state messages works as before", async () => {
    server.states = false;
    const one = await device();
    server.append("d");
    await one.read(server.log[0]!.id);
    expect([readTitles(one), one.unread]).toEqual([["a"], 3]);
  });
});

describe("the unread filter", () => {
  test("finds unread ones below the loaded part, and leaves the list without a gap", async () => {
    for (let i = 0; i < 300; i++) server.append(`n${i}`);
    server.log = server.log.map((n) => (n.seq === 2 || n.seq > 290 ? n : { ...n, read_at: n.created_at }));
    const one = await device();
    expect([one.unreadList().length, one.unread, one.hasOlderUnread]).toEqual([13, 14, true]);
    await one.olderUnread();
    expect(one.unreadList().map((n) => n.seq).at(-1)).toBe(2);
    expect(one.hasOlderUnread).toBe(false);
    expect(one.list().map((n) => n.seq).at(-1)).toBe(254);
    await one.older();
    expect(one.list().map((n) => n.seq)).toEqual(Array.from({ length: 100 }, (_, i) => 303 - i));
  });
});

describe("deleting with undo", () => {
  test("hides at once, deletes after a while, and can be undone until then", async () => {
    const one = await device();
    const undo = one.removeLater(server.log[0]!.id);
    one.removeLater(server.log[1]!.id);
    expect([titles(one), one.unread]).toEqual([["c"], 1]);
    expect(undo()).toBe(true);
    expect([titles(one), one.unread]).toEqual([["c", "a"], 2]);
    expect(server.log).toHaveLength(3);
    await vi.advanceTimersByTimeAsync(7_000);
    expect(server.log.map((n) => n.title)).toEqual(["a", "c"]);
    expect(undo()).toBe(false);
    expect(one.unread).toBe(2);
  });

  test("happens when the inbox is closed earlier", async () => {
    const one = await device();
    one.removeLater(server.log[0]!.id);
    one.close();
    await settle();
    expect(server.log.map((n) => n.title)).toEqual(["b", "c"]);
  });

  test("a refused deletion reappears and is reported", async () => {
    const one = await device();
    const errors: Error[] = [];
    one.on("error", (e) => errors.push(e));
    one.removeLater(server.log[0]!.id);
    server.away = true;
    await vi.advanceTimersByTimeAsync(6_100);
    expect(titles(one)).toEqual(["c", "b", "a"]);
    expect(errors).toHaveLength(1);
  });
});

describe("muting", () => {
  test("the history can be shown while muted, and new notifications are not announced", async () => {
    const one = await device();
    const news: string[] = [];
    one.on("notification", (n) => news.push(n.title));
    await one.mute();
    expect([titles(one), one.unread]).toEqual([[], 0]);
    await one.showMuted();
    expect([titles(one), one.unread]).toEqual([["c", "b", "a"], 3]);
    server.append("d");
    server.change({ read: 0 });
    await settle();
    expect(titles(one)).toEqual(["d", "c", "b", "a"]);
    await one.showMuted(false);
    expect(titles(one)).toEqual([]);
    expect(news).toEqual([]);
  });

  test("a single kind can be muted", async () => {
    const one = await device();
    await one.muteKind("message");
    expect([one.kinds, titles(one)]).toEqual([{ message: 0 }, []]);
    await one.muteKind("message", false);
    expect([one.kinds, titles(one).length]).toEqual([{}, 3]);
  });
});

describe("a token that expires", () => {
  test("is announced in advance; the list stays and continues with a new one", async () => {
    const first = token(1, 600);
    let given = first;
    const inbox = connect({ url: "http://falcon.test", getToken: () => given, fetch: server.fetch, live: server.live, shareTabs: false });
    open.push(inbox);
    const warned: number[] = [];
    inbox.on("expiring", (at) => warned.push(Math.round((at - Date.now()) / 1000)));
    await settle();
    server.lives[0]!.connect();
    await vi.advanceTimersByTimeAsync(545_000);
    expect(warned).toEqual([60]);
    server.refuse.add(first);
    await inbox.refresh();
    expect([inbox.state, titles(inbox)]).toEqual(["ended", ["c", "b", "a"]]);
    await expect(inbox.renew()).rejects.toThrow("the same token");
    given = token(1, 600);
    server.append("d");
    await inbox.renew();
    server.lives.at(-1)!.connect();
    await settle();
    expect([inbox.state, titles(inbox)]).toEqual(["live", ["d", "c", "b", "a"]]);
    expect(inbox.error).toBeNull();
  });

  test("the connection stays if it is renewed in time", async () => {
    let given = token(1, 600);
    const inbox = connect({ url: "http://falcon.test", getToken: () => given, fetch: server.fetch, live: server.live, shareTabs: false });
    open.push(inbox);
    await settle();
    server.lives[0]!.connect();
    await settle();
    given = token(1, 600);
    await inbox.renew();
    expect([server.lives.length, server.lives[0]!.renewed]).toEqual([1, [given]]);
  });
});

test("a server that does not allow the origin is distinguished from an unreachable one", async () => {
  vi.stubGlobal("location", new URL("https://app.test/inbox"));
  const refused: typeof fetch = async (input) => {
    if (String(input).endsWith("/client/index.js")) return new Response("");
    throw new TypeError("Failed to fetch");
  };
  const one = token(1);
  const inbox = connect({ url: "http://falcon.test", getToken: () => one, fetch: refused, live: server.live, shareTabs: false });
  open.push(inbox);
  await settle();
  expect(inbox.error?.message).toBe("the server responds, but not to this page: add https://app.test to its --cors-origins");
  vi.unstubAllGlobals();
});
