import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { sample } from "./checkout.js";
import { freePort, Program } from "./program.js";
import { PushService, type Subscription } from "./pushservice.js";

const dir = mkdtempSync(join(tmpdir(), "falcon-push-"));
const program = new Program();
let service: PushService;
let key: string;

const secrets = ["old", "new"].map((s) => `whsec_${createHash("sha256").update(s).digest("base64")}`);
type Hook = { headers: Record<string, string>; body: string };
const hooks: Hook[] = [];
let receiver: Server;
let example: ChildProcess;
let seenByExample = "";

async function read(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

beforeAll(async () => {
  service = await PushService.start(dir);

  // Keeps each webhook, and passes it on to the documented receiver.
  const port = await freePort();
  writeFileSync(join(dir, "receiver.mjs"), sample("docs/push.md", "js", "hook.verify").replace("3000", String(port)) +
    "function enqueue(...args) { console.log(JSON.stringify(args)) }\n");
  symlinkSync(fileURLToPath(new URL("../node_modules", import.meta.url)), join(dir, "node_modules"));
  example = spawn("node", ["receiver.mjs"], { cwd: dir, env: { ...process.env, WEBHOOK_SECRET: secrets[1]! }, stdio: ["ignore", "pipe", "inherit"] });
  example.stdout!.setEncoding("utf8").on("data", (text: string) => (seenByExample += text));
  receiver = createServer(async (request, response) => {
    const hook = { headers: request.headers as Record<string, string>, body: await read(request) };
    const { host: _, connection: __, ...headers } = hook.headers;
    const { status } = await fetch(`http://127.0.0.1:${port}`, { method: "POST", headers, body: hook.body }).catch(() => ({ status: 503 }));
    if (status === 204) hooks.push(hook);
    response.writeHead(status).end();
  }).listen(0, "127.0.0.1");
  await new Promise((done) => receiver.once("listening", done));

  const vapid = join(dir, "vapid.pem");
  execFileSync("bash", ["-euc", `cd ${dir}; ${sample("docs/push.md", "sh", "openssl ecparam").split("\n")[0]}`], { stdio: "pipe" });
  writeFileSync(join(dir, "webhook.secret"), secrets.join("\n"));
  program.env = { SSL_CERT_FILE: service.certificate };
  await program.build("--vapid-key-file", vapid, "--vapid-contact", "mailto:ops@example.com", "--push-hosts", service.host, "--push-after", "1s",
    "--push-base-url", "https://app.example.com/inbox/", "--webhook-url", `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/late`,
    "--webhook-secret-file", join(dir, "webhook.secret"), "--webhook-when", "unread 1s");
  key = ((await (await program.call("GET", "/push/key")).json()) as { vapid_public_key: string }).vapid_public_key;
});

afterAll(async () => {
  await program.close();
  service?.close();
  receiver?.close();
  example?.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

const until = (f: () => void | Promise<void>) => vi.waitFor(f, { timeout: 40_000, interval: 100 });

/** A call as the user. */
function as(user: string, method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(program.url + path, {
    method, headers: { Authorization: `Bearer ${program.token("--user", user)}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** Registers a device of the user at the push service. */
async function register(user: string, client: string): Promise<Subscription> {
  const { clientHash, ...push } = await service.subscribe(key);
  expect((await as(user, "PUT", `/devices/${client}`, { push })).status).toBe(204);
  return { clientHash, ...push };
}

type Payload = { web_push: number; notification: { title: string; body: string; navigate: string; data: Record<string, unknown> } };
const payloads = async (of: Subscription): Promise<Payload[]> => (await service.messages(of)).map((m) => JSON.parse(m));
const draft = (user: number, title: string, more: object = {}) => program.call("POST", "/notifications", { title, message: "m", created_by: user, ...more });

/** The headers of the only message whose payload a test has just seen. */
function headers(before: number) {
  expect(service.received.length).toBe(before + 1);
  return service.received[before]!;
}

test("a third-party push service accepts the key and decrypts the message", async () => {
  const device = await register("1", "phone");
  const before = service.received.length;
  const created = (await (await draft(1, "Título «ñ» 🚀", { url: "/reports/7?a=b" })).json()) as { id: number; seq: number };
  await until(async () => expect(await payloads(device)).toHaveLength(1));
  expect((await payloads(device))[0]).toEqual({
    web_push: 8030,
    notification: {
      title: "Título «ñ» 🚀", body: "m", navigate: "https://app.example.com/reports/7?a=b",
      data: { id: created.id, seq: created.seq, kind: "message", created_by: 1, created_at: expect.any(String), read_at: null, url: "/reports/7?a=b" },
    },
  });
  const sent = headers(before);
  expect([sent["content-encoding"], sent["ttl"], sent["topic"], sent["content-type"]]).toEqual(["aes128gcm", "604800", undefined, "application/octet-stream"]);
});

test("a notification has the topic of the one that it replaces, and another user's has not", async () => {
  const [a, b] = [await register("2", "phone"), await register("3", "phone")];
  const topics: string[] = [];
  for (const [user, device, count] of [[2, a, 1], [2, a, 2], [3, b, 1]] as const) {
    const before = service.received.length;
    await draft(user, `step ${count}`, { replaces: "export-9" });
    await until(async () => expect(await payloads(device)).toHaveLength(count));
    topics.push(headers(before)["topic"] as string);
  }
  expect(topics[0]).toMatch(/^[A-Za-z0-9_-]{32}$/);
  expect(topics[1]).toBe(topics[0]);
  expect(topics[2]).not.toBe(topics[0]);
  expect((await payloads(a)).map((p) => p.notification.data["replaces"])).toEqual(["export-9", "export-9"]);
});

test("the push service keeps a notification no longer than until it expires", async () => {
  const device = await register("4", "phone");
  const before = service.received.length;
  await draft(4, "soon gone", { expires_in: 60 });
  await until(async () => expect(await payloads(device)).toHaveLength(1));
  const [payload] = await payloads(device);
  const left = (Date.parse(payload!.notification.data["expires_at"] as string) - Date.now()) / 1000;
  const ttl = Number(headers(before)["ttl"]);
  expect(ttl).toBeGreaterThanOrEqual(Math.floor(left));
  expect(ttl).toBeLessThanOrEqual(60);
});

test("the longest texts are cut to fit", async () => {
  const device = await register("5", "phone");
  await draft(5, "é".repeat(255), { message: "ü".repeat(4000), data: { text: "x".repeat(3000) }, url: `/${"y".repeat(2000)}` });
  await until(async () => expect(await payloads(device)).toHaveLength(1));
  const [{ notification }] = (await payloads(device)) as [Payload];
  expect(notification.title).toBe("é".repeat(255));
  expect(notification.body).toMatch(/^ü+…$/);
});

test("a subscription that has ended is removed", async () => {
  const device = await register("6", "phone");
  await service.expire(device);
  await draft(6, "to nobody");
  await until(async () => expect(await (await as("6", "GET", "/devices")).json()).toEqual([]));
});

test("standardwebhooks verifies each signature, and the documented receiver accepts it", async () => {
  const created = (await (await draft(7, "unread")).json()) as { id: number };
  const mine = () => hooks.find((h) => (JSON.parse(h.body) as { data: { id: number } }).data.id === created.id);
  await until(() => expect(mine()).toBeDefined());
  const { headers, body } = mine()!;
  for (const secret of secrets) {
    expect(new Webhook(secret).verify(body, headers)).toEqual({
      type: "notification.unread", timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      data: expect.objectContaining({ id: created.id, title: "unread", message: "m", created_by: 7, read_at: null }),
    });
  }
  expect(() => new Webhook(secrets[0]!).verify(`${body} `, headers)).toThrow();
  expect(() => new Webhook(`whsec_${Buffer.alloc(32).toString("base64")}`).verify(body, headers)).toThrow();
  await until(() => expect(seenByExample).toContain(`["${headers["webhook-id"]}","notification.unread"`));
});
