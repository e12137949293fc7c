import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { connect, type Inbox } from "../src/index.js";
import { Postgres } from "./postgres.js";
import { Program } from "./program.js";

// Two nodes on one database, and devices of one user on each.
const postgres = new Postgres();
const [one, two] = [new Program(), new Program()] as const;
const boxes: Inbox[] = [];
const calls: string[][] = [];
const until = (f: () => void) => vi.waitFor(f, { timeout: 20_000, interval: 20 });
const shown = (box: Inbox) => [box.list().map((n) => `${n.title}${n.read_at ? "" : "*"}`), box.unread];

async function device(program: Program, mqttUrl?: string): Promise<Inbox> {
  const asked: string[] = [];
  calls.push(asked);
  const token = program.token("--user", "1");
  const box = connect({
    url: program.url, getToken: () => token, shareTabs: false, ...(mqttUrl ? { mqttUrl } : {}),
    fetch: (input, init) => {
      asked.push(`${init?.method} ${new URL(String(input)).pathname}`);
      return fetch(input, init);
    },
  });
  boxes.push(box);
  await until(() => expect([box.state, box.loaded]).toEqual(["live", true]));
  return box;
}

beforeAll(async () => {
  process.env["FALCON_JWT_SECRET"] = "one secret for both nodes, of 32 bytes at least"; // for their commands, too
  await postgres.create();
  await one.build("--database-url", postgres.url);
  await two.build("--database-url", postgres.url);
  for (const title of ["a", "b", "c", "d"]) await one.notify(title);
});

afterAll(async () => {
  for (const box of boxes) box.close();
  await one.close();
  await two.close();
  await postgres.close();
});

test("two browsers and a phone on two nodes agree without REST calls", async () => {
  const [left, right, phone] = [await device(one), await device(two), await device(two, `mqtt://127.0.0.1:${two.mqttPort}`)];
  const agree = async (list: string[], unread: number) => {
    for (const box of [left, right, phone]) await until(() => expect(shown(box)).toEqual([list, unread]));
  };
  await agree(["d*", "c*", "b*", "a*"], 4);
  const id = (title: string) => left.list().find((n) => n.title === title)!.id;
  const [a, b, c] = [id("a"), id("b"), id("c")];
  for (const asked of calls) asked.length = 0;
  await left.read(a);
  await agree(["d*", "c*", "b*", "a"], 3);
  await right.markUnread(a);
  await agree(["d*", "c*", "b*", "a*"], 4);
  await phone.remove(b);
  await agree(["d*", "c*", "a*"], 3);
  await one.notify("e");
  await agree(["e*", "d*", "c*", "a*"], 4);
  await right.readAll();
  await agree(["e", "d", "c", "a"], 0);
  for (const key of ["old", "new"]) await one.call("POST", "/notifications", { title: key, message: "m", created_by: 1, replaces: "key" });
  await agree(["new*", "e", "d", "c", "a"], 1);
  await one.call("POST", "/notifications", { title: "brief", message: "m", created_by: 1, expires_in: 1 });
  await until(() => expect(left.list().some((n) => n.title === "brief")).toBe(true));
  await agree(["new*", "e", "d", "c", "a"], 1);
  expect(calls.flat().sort()).toEqual([`POST /notifications/${a}/read`, `POST /notifications/read`, `POST /notifications/${a}/unread`, `DELETE /notifications/${b}`].sort());
  await left.mute();
  for (const box of [left, right, phone]) await until(() => expect([box.muted, box.list()]).toEqual([true, []]));
  await phone.mute(false);
  await agree(["new*", "e", "d", "c", "a"], 1);
  // Exactly the same after an absence.
  await two.kill();
  await left.remove(c);
  await left.markUnread(a);
  await two.start();
  await agree(["new*", "e", "d", "a*"], 2);
}, 60_000);
