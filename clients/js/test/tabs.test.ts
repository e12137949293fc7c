import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Inbox } from "../src/index.js";
import { FakeServer, token } from "./server.js";

/** Web Locks as far as tabs use them: one holder a name, the rest queue. */
class FakeLocks {
  #queue: Array<{ run: () => Promise<void> | undefined; signal: AbortSignal }> = [];
  #held = false;

  request(_name: string, { signal }: { signal: AbortSignal }, run: () => Promise<void> | undefined): Promise<void> {
    this.#queue.push({ run, signal });
    this.#next();
    return Promise.resolve();
  }

  #next(): void {
    if (this.#held) return;
    const first = this.#queue.shift();
    if (!first) return;
    if (first.signal.aborted) return this.#next();
    this.#held = true;
    void Promise.resolve(first.run()).then(() => {
      this.#held = false;
      this.#next();
    });
  }
}

let server: FakeServer;
const open: Inbox[] = [];

function tab(): { inbox: Inbox; titles: string[] } {
  const inbox = connect({ url: "http://falcon.test", getToken: () => token(1), fetch: server.fetch, live: server.live });
  const titles: string[] = [];
  inbox.on("notification", (n) => titles.push(n.title));
  open.push(inbox);
  return { inbox, titles };
}

const until = (f: () => void) => vi.waitFor(f, { timeout: 5_000 });

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
  server.append("between", false); // nobody listened
  server.lives[1]!.connect();
  await until(() => expect(b.titles).toEqual(["one", "between"]));
  expect(server.lives[0]!.stopped).toBe(true);
});

test("a tab that opens later is told that the connection stands", async () => {
  const a = tab();
  await until(() => expect(server.lives).toHaveLength(1));
  server.lives[0]!.connect();
  await until(() => expect(a.inbox.state).toBe("live"));
  const b = tab();
  await until(() => expect(b.inbox.state).toBe("live"));
  expect(server.lives).toHaveLength(1);
});

test("what is read, deleted or muted in one tab is so in the other", async () => {
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
