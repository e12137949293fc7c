import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Inbox } from "../src/index.js";
import { joinTabs } from "../src/tabs.js";
import { FakeServer, token } from "./server.js";

type Held = () => Promise<void> | undefined;

/** Web Locks as far as tabs use them: one holder, the rest queue, and stealing ends the holder's promise. */
class FakeLocks {
  #queue: Array<{ run: Held; done: () => void; fail: (e: Error) => void }> = [];
  #holder: { fail: (e: Error) => void } | null = null;

  request(_name: string, { signal, steal }: { signal?: AbortSignal; steal?: boolean }, run: Held): Promise<void> {
    return new Promise<void>((done, fail) => {
      const entry = { run, done, fail };
      signal?.addEventListener("abort", () => {
        this.#queue = this.#queue.filter((e) => e !== entry);
        fail(new DOMException("given up", "AbortError"));
      });
      if (steal) {
        this.#holder?.fail(new DOMException("stolen", "AbortError"));
        this.#grant(entry);
      } else {
        this.#queue.push(entry);
        this.#next();
      }
    });
  }

  #next(): void {
    const first = this.#holder ? undefined : this.#queue.shift();
    if (first) this.#grant(first);
  }

  #grant(entry: { run: Held; done: () => void; fail: (e: Error) => void }): void {
    this.#holder = entry;
    void Promise.resolve(entry.run()).then(() => {
      entry.done();
      if (this.#holder !== entry) return;
      this.#holder = null;
      this.#next();
    });
  }
}

let server: FakeServer;
const open: Inbox[] = [];

function tab(getToken = () => token(1)): { inbox: Inbox; titles: string[] } {
  const inbox = connect({ url: "http://falcon.test", getToken, fetch: server.fetch, live: server.live });
  const titles: string[] = [];
  inbox.on("notification", (n) => titles.push(n.title));
  open.push(inbox);
  return { inbox, titles };
}

const until = (f: () => void) => vi.waitFor(f, { timeout: 20_000 });

beforeEach(() => {
  server = new FakeServer();
  vi.stubGlobal("navigator", { locks: new FakeLocks() });
});

afterEach(() => {
  for (const inbox of open.splice(0)) inbox.close();
  vi.unstubAllGlobals();
});

test("two tabs share one connection, and the second follows when the first closes", async () => {
  const [a, b] = [tab(), tab()];
  await until(() => expect(server.lives).toHaveLength(1));
  server.lives[0]!.connect();
  await until(() => expect([a.inbox.state, b.inbox.state]).toEqual(["live", "live"]));
  server.append("one");
  await until(() => expect([a.titles, b.titles]).toEqual([["one"], ["one"]]));

  a.inbox.close();
  await until(() => expect(server.lives).toHaveLength(2));
  server.append("between", false); // while no tab listened
  server.lives[1]!.connect();
  await until(() => expect(b.titles).toEqual(["one", "between"]));
  expect(server.lives[0]!.stopped).toBe(true);
});

test("a tab that opens later learns that the connection is up", async () => {
  const a = tab();
  await until(() => expect(server.lives).toHaveLength(1));
  server.lives[0]!.connect();
  await until(() => expect(a.inbox.state).toBe("live"));
  const b = tab();
  await until(() => expect(b.inbox.state).toBe("live"));
  expect(server.lives).toHaveLength(1);
});

test("reading, deleting or muting in one tab applies to the other", async () => {
  server.append("one");
  server.append("two");
  const [a, b] = [tab(), tab()];
  await until(() => expect([a.inbox.unread, b.inbox.unread]).toEqual([2, 2]));
  await a.inbox.read(101);
  await until(() => expect(b.inbox.unread).toBe(1));
  await b.inbox.remove(100);
  await until(() => expect(a.inbox.list().map((n) => n.title)).toEqual(["two"]));
  await a.inbox.mute();
  await until(() => expect([b.inbox.muted, b.inbox.list().length]).toEqual([true, 0]));
});

test("a replaced leader ends its connection, and leads again when it gets the lock", async () => {
  const a = tab();
  await until(() => expect(server.lives).toHaveLength(1));
  server.lives[0]!.connect();
  await until(() => expect(a.inbox.state).toBe("live"));
  let give = () => {};
  const thief = navigator.locks.request("any", { steal: true }, () => new Promise<void>((done) => (give = done)));
  await until(() => expect(server.lives[0]!.stopped).toBe(true));
  expect(a.inbox.state).toBe("connecting");
  give();
  await thief;
  await until(() => expect(server.lives).toHaveLength(2));
  server.lives[1]!.connect();
  await until(() => expect(a.inbox.state).toBe("live"));
});

test("a tab takes over from a silent leader", async () => {
  // A leader that has the lock and never responds.
  navigator.locks.request("any", {}, () => new Promise<void>(() => {})).catch(() => {}); // stolen
  const b = tab();
  await vi.waitFor(() => expect(server.lives).toHaveLength(1), { timeout: 20_000 });
  server.lives[0]!.connect();
  await until(() => expect(b.inbox.state).toBe("live"));
}, 30_000);

test("a leader whose token is refused lets another tab lead", async () => {
  const bad = token(1);
  const a = tab(() => bad);
  await until(() => expect(server.lives).toHaveLength(1));
  const b = tab();
  expect(await server.lives[0]!.events.refused(bad)).toBe(false);
  expect(a.inbox.state).toBe("ended");
  await until(() => expect(server.lives).toHaveLength(2));
  server.lives[1]!.connect();
  await until(() => expect(b.inbox.state).toBe("live"));
});

test("a tab that becomes visible asks for the leader at once, although its timers were throttled", async () => {
  vi.useFakeTimers({ toFake: ["setInterval"] }); // as in a hidden tab; here they never fire
  const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
  vi.stubGlobal("document", page);
  navigator.locks.request("any", {}, () => new Promise<void>(() => {})).catch(() => {}); // a leader that is blocked
  const asked: string[] = [];
  const others = new BroadcastChannel("tabs");
  others.onmessage = ({ data }) => asked.push(data.type);
  let leads = false;
  const tabs = joinTabs("tabs", { lead: () => (leads = true), follow: () => {}, message: () => {} });
  page.dispatchEvent(new Event("visibilitychange"));
  await until(() => expect(asked).toEqual(["ask"]));
  page.dispatchEvent(new Event("visibilitychange"));
  page.dispatchEvent(new Event("visibilitychange"));
  await until(() => expect([leads, asked]).toEqual([true, ["ask", "ask", "here"]]));
  tabs.close();
  others.close();
  vi.useRealTimers();
});
