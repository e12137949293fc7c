import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { connect, type Inbox } from "../src/index.js";
import { MqttLive } from "../src/live.js";
import { Program } from "./program.js";

const program = new Program();
const open: Inbox[] = [];
const until = (f: () => void) => vi.waitFor(f, { timeout: 40_000, interval: 50 });

beforeAll(() => program.build());
afterAll(() => program.close());
afterEach(() => {
  for (const inbox of open.splice(0)) inbox.close();
});

function inbox(getToken = () => program.token("--user", "1")): { inbox: Inbox; titles: string[]; states: string[] } {
  const made = connect({ url: program.url, getToken, shareTabs: false });
  open.push(made);
  const titles: string[] = [];
  const states: string[] = [];
  made.on("notification", (n) => titles.push(n.title));
  made.on("state", (s) => states.push(s));
  return { inbox: made, titles, states };
}

test("history, live, read, muted", async () => {
  await program.notify("before");
  const { inbox: box, titles } = inbox();
  await until(() => expect(box.state).toBe("live"));
  expect(box.list().map((n) => n.title)).toEqual(["before"]);
  for (let i = 0; i < 20; i++) await program.notify(`n${i}`);
  await until(() => expect(titles).toEqual(Array.from({ length: 20 }, (_, i) => `n${i}`)));
  expect(box.unread).toBe(21);
  await box.readAll();
  await box.refresh();
  expect(box.unread).toBe(0);
  await box.mute();
  await program.notify("muted");
  expect(box.list()).toEqual([]);
  await box.mute(false);
  expect(box.list()[0]?.title).toBe("muted");
});

test("a crash of the server loses and duplicates nothing", async () => {
  const { inbox: box, titles, states } = inbox();
  await until(() => expect(box.state).toBe("live"));
  await program.notify("a");
  await until(() => expect(titles).toEqual(["a"]));
  await program.kill();
  await until(() => expect(states).toContain("connecting"));
  await program.start();
  await program.notify("b");
  await until(() => expect(box.state).toBe("live"));
  await program.notify("c");
  await until(() => expect(titles).toEqual(["a", "b", "c"]));
});

test("the token is renewed in place, and the connection outlives the first one", async () => {
  let tokens = 0;
  const { inbox: box, titles, states } = inbox(() => {
    tokens++;
    return program.token("--user", "1", "--ttl", "12s");
  });
  await until(() => expect(box.state).toBe("live"));
  const seen = states.length;
  await until(() => expect(tokens).toBe(3)); // at 20 s: after the first one's expiry and the 5 s in which the server notices it
  await program.notify("after");
  await until(() => expect(titles).toEqual(["after"]));
  expect(states.slice(seen)).toEqual([]);
});

test("repeated renewals leave no listeners behind", async () => {
  const warnings: Error[] = [];
  const note = (w: Error) => void warnings.push(w);
  process.on("warning", note);
  const gone: string[] = [];
  const token = program.token("--user", "1");
  const live = new MqttLive(
    { url: `mqtt://127.0.0.1:${program.mqttPort}`, topic: "users/1/reports/status", token: async () => token },
    { up: () => gone.push("up"), down: () => gone.push("down"), message: () => {}, refused: async () => false },
  );
  live.start();
  await until(() => expect(gone).toEqual(["up"]));
  for (let i = 0; i < 20; i++) live.renew(token);
  await program.notify("renewed"); // handled after the AUTHs
  live.stop();
  process.off("warning", note);
  expect(warnings.map((w) => w.message)).toEqual([]);
  expect(gone).toEqual(["up"]);
});

test("a revoked token without another one ends the inbox", async () => {
  const token = program.token("--user", "1");
  const { inbox: box } = inbox(() => token);
  await until(() => expect(box.state).toBe("live"));
  await program.call("POST", "/admin/revocations", { user: 1 });
  await until(() => expect(box.state).toBe("ended"));
});
