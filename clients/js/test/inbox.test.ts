import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connect, type Inbox, type Notification } from "../src/index.js";
import { FakeServer, token } from "./server.js";

let server: FakeServer;
let inbox: Inbox;
let emitted: { titles: string[]; counts: number[]; states: string[]; gaps: unknown[]; errors: Error[] };
let getToken: () => string;

function open(): void {
  inbox = connect({ url: "http://falcon.test", getToken: () => getToken(), fetch: server.fetch, live: server.live, shareTabs: false });
  emitted = { titles: [], counts: [], states: [], gaps: [], errors: [] };
  inbox.on("notification", (n) => emitted.titles.push(n.title));
  inbox.on("count", (n) => emitted.counts.push(n));
  inbox.on("state", (s) => emitted.states.push(s));
  inbox.on("gap", (g) => emitted.gaps.push(g));
  inbox.on("error", (e) => emitted.errors.push(e));
}

const settle = () => vi.advanceTimersByTimeAsync(0);
const titles = (list: readonly Notification[] = inbox.list()) => list.map((n) => n.title);

async function openLive(): Promise<void> {
  open();
  await settle();
  server.lives[0]!.connect();
  await settle();
}

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  const one = token(1);
  getToken = () => one;
});

afterEach(() => {
  inbox.close();
  vi.useRealTimers();
});

describe("history and live", () => {
  test("join without a gap: a notification between subscription and page arrives once", async () => {
    server.append("a");
    open();
    await settle();
    server.meanwhile = (call) => {
      if (call === "GET /notifications") {
        server.meanwhile = () => {};
        server.append("b"); // live, but not in the page that was just returned
      }
    };
    server.lives[0]!.connect();
    await settle();
    expect(titles()).toEqual(["b", "a"]);
    expect(emitted.titles).toEqual(["b"]);
    expect(inbox.unread).toBe(2);
    expect(inbox.state).toBe("live");
  });

  test("a repeat is ignored", async () => {
    await openLive();
    const item = server.append("a");
    server.lives[0]!.events.message({ ...item }, "e1");
    expect(titles()).toEqual(["a"]);
    expect(emitted.titles).toEqual(["a"]);
    expect(inbox.unread).toBe(1);
  });

  test("a gap is reported and filled from REST", async () => {
    await openLive();
    server.append("a");
    server.append("b", false);
    server.append("c");
    await settle();
    expect(emitted.gaps).toEqual([{ from: 2, to: 2 }]);
    expect(titles()).toEqual(["c", "b", "a"]);
    expect(emitted.titles.sort()).toEqual(["a", "b", "c"]);
  });

  test("after an absence everything missed is loaded, even if it exceeds a page", async () => {
    await openLive();
    server.append("first");
    server.lives[0]!.drop();
    for (let i = 0; i < 300; i++) server.append(`n${i}`);
    server.lives[0]!.connect();
    await settle();
    expect(inbox.list()).toHaveLength(301);
    expect(emitted.titles).toHaveLength(301);
    expect(inbox.list().map((n) => n.seq)).toEqual(Array.from({ length: 301 }, (_, i) => 301 - i));
  });

  test("very far behind, the newest are listed without a gap and older ones can be loaded", async () => {
    await openLive();
    server.append("first");
    server.lives[0]!.drop();
    for (let i = 0; i < 2000; i++) server.append(`n${i}`);
    server.lives[0]!.connect();
    await settle();
    const seqs = inbox.list().map((n) => n.seq);
    expect(seqs).toEqual(seqs.map((_, i) => 2001 - i));
    expect(inbox.hasOlder).toBe(true);
    await inbox.older();
    expect(inbox.list()).toHaveLength(seqs.length + 50);
  });

  test("a new epoch discards known seqs", async () => {
    await openLive();
    server.append("old 1");
    server.append("old 2");
    server.epoch = "e2";
    server.log = [];
    server.append("new 1");
    await settle();
    expect(titles()).toEqual(["new 1"]);
  });

  test("a notification deleted elsewhere disappears at the next read", async () => {
    server.append("a");
    server.append("b");
    await openLive();
    server.log.shift();
    await inbox.refresh();
    expect(titles()).toEqual(["b"]);
  });
});

describe("reading, deleting, muting", () => {
  test("reads one, then all", async () => {
    server.append("a");
    server.append("b");
    await openLive();
    await inbox.read(inbox.list()[0]!.id);
    expect(inbox.unread).toBe(1);
    await inbox.readAll();
    expect(inbox.unread).toBe(0);
    expect(server.log.every((n) => n.read_at)).toBe(true);
    server.append("c");
    expect(inbox.unread).toBe(1);
    expect(emitted.counts).toEqual([2, 1, 0, 1]);
  });

  test("reverts a change that fails, and reports the error", async () => {
    server.append("a");
    await openLive();
    server.away = true;
    await expect(inbox.read(100)).rejects.toMatchObject({ status: 0 });
    await expect(inbox.remove(100)).rejects.toMatchObject({ status: 0 });
    await expect(inbox.readAll()).rejects.toMatchObject({ status: 0 });
    expect(inbox.unread).toBe(1);
    expect(titles()).toEqual(["a"]);
  });

  test("a redelivery does not restore a deleted notification", async () => {
    const item = server.append("a");
    await openLive();
    await inbox.remove(item.id);
    server.lives[0]!.events.message(item, "e1");
    expect(titles()).toEqual([]);
    expect(inbox.unread).toBe(0);
  });

  test("a page that is older than a mark does not undo it", async () => {
    server.append("a");
    await openLive();
    const under = inbox.sync();
    await Promise.all([inbox.read(100), under]);
    await settle();
    expect(inbox.unread).toBe(0);
    expect(inbox.list()[0]!.read_at).not.toBeNull();
  });

  test("muted, nothing is listed; unmuted, all is, and nothing is announced", async () => {
    server.append("a");
    await openLive();
    await inbox.mute();
    expect([inbox.muted, titles(), inbox.unread]).toEqual([true, [], 0]);
    server.append("b", false);
    await inbox.mute(false);
    expect(titles()).toEqual(["b", "a"]);
    expect(emitted.titles).toEqual([]);
    server.append("c");
    expect(emitted.titles).toEqual(["c"]);
  });
});

describe("failures", () => {
  test("without MQTT it polls", async () => {
    open();
    await settle();
    server.lives[0]!.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(inbox.state).toBe("polling");
    server.append("a");
    await vi.advanceTimersByTimeAsync(13_000);
    expect(emitted.titles).toEqual(["a"]);
    server.lives[0]!.connect();
    await settle();
    expect(inbox.state).toBe("live");
    const calls = server.calls.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.calls.length).toBe(calls);
  });

  test("reports an unavailable server and recovers", async () => {
    server.away = true;
    open();
    await settle();
    expect(inbox.state).toBe("away");
    server.away = false;
    server.append("a");
    await vi.advanceTimersByTimeAsync(3_000);
    expect(inbox.state).not.toBe("away");
    expect(titles()).toEqual(["a"]);
    expect(emitted.errors.length).toBeGreaterThan(0);
  });

  test("a refused token is replaced once; without another it ends", async () => {
    const [bad, good] = [token(1), token(1)];
    server.refuse.add(bad);
    const given = [bad, good, good];
    getToken = () => given.shift()!;
    await openLive();
    expect(inbox.state).toBe("live");
    server.refuse.add(good);
    await inbox.refresh();
    expect(inbox.state).toBe("ended");
    expect(server.lives[0]!.stopped).toBe(true);
  });

  test("renews before expiry and hands the new token to the connection", async () => {
    const made: string[] = [];
    getToken = () => made[made.push(token(1, 600)) - 1]!;
    await openLive();
    await vi.advanceTimersByTimeAsync(539_000);
    expect(made).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(made).toHaveLength(2);
    expect(server.lives[0]!.renewed).toEqual([made[1]]);
  });

  test.each([["ahead", 3600], ["behind", -3600]])("with a clock an hour %s, tokens of ten minutes are asked for every nine", async (_, behind) => {
    const made: string[] = [];
    getToken = () => made[made.push(token(1, 600, behind)) - 1]!;
    await openLive();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(made).toHaveLength(7);
    expect(server.lives[0]!.renewed).toEqual(made.slice(1));
  });

  test("a failing getToken is retried with growing pauses, while the current token stays in use", async () => {
    let asked = 0;
    let fails = false;
    const first = token(1, 600);
    getToken = () => {
      asked++;
      if (fails) throw new Error("no session");
      return asked === 1 ? first : token(1, 600);
    };
    await openLive();
    fails = true;
    await vi.advanceTimersByTimeAsync(540_000 + 20_000);
    expect(asked).toBe(6); // at once, then after 1, 2, 4 and 8 s
    expect(emitted.errors).toHaveLength(5);
    await inbox.refresh();
    expect([asked, inbox.state]).toEqual([6, "live"]);
    fails = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(server.lives[0]!.renewed).toHaveLength(1);
  });

  test("a token without a user ends the inbox with an error", async () => {
    getToken = () => "nonsense";
    open();
    await settle();
    expect(inbox.state).toBe("ended");
    expect(emitted.errors[0]!.message).toBe("getToken returned no JWT with a user in sub");
  });

  test("makes no calls after close", async () => {
    await openLive();
    inbox.close();
    const calls = server.calls.length;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.calls.length).toBe(calls);
    expect(server.lives[0]!.stopped).toBe(true);
  });
});
