import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { sample } from "./checkout.js";

const dir = mkdtempSync(join(tmpdir(), "falcon-native-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const item = { id: 27, seq: 3, kind: "message", title: "T", message: "M", created_by: 7, url: "/reports/7", replaces: "export-9" };

/** Runs a sample's enqueue for the item with the application's own functions: two devices, the second one removed. */
async function run(name: string, text: string): Promise<unknown[]> {
  const file = join(dir, name);
  writeFileSync(file, `${text}
    async function tokensOf(user) { return [\`\${user}-phone\`, \`\${user}-gone\`] }
    function providerToken() { return 'provider-token' }
    function forget(token) { console.log(JSON.stringify({ forget: token })) }
    if (typeof apns !== 'undefined') {
      let open = 0
      const request = apns.request.bind(apns)
      apns.request = (headers) => (open++, request(headers).on('close', () => --open || apns.close()))
    }
    await enqueue('msg_1', 'notification.unread', ${JSON.stringify(item)})
  `);
  const { stdout } = await promisify(execFile)("node", [file], { cwd: dir, timeout: 30_000 });
  return stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line) as unknown);
}

// firebase-admin needs a Google account, so its functions that the sample calls are replaced.
test("the sample for FCM sends to each device and forgets those that are gone", async () => {
  const module = join(dir, "node_modules/firebase-admin");
  mkdirSync(module, { recursive: true });
  writeFileSync(join(module, "package.json"), JSON.stringify({ type: "module", exports: { "./app": "./app.js", "./messaging": "./messaging.js" } }));
  writeFileSync(join(module, "app.js"), "export function initializeApp() {}");
  writeFileSync(join(module, "messaging.js"), `export const getMessaging = () => ({ async sendEachForMulticast(message) {
    console.log(JSON.stringify(message))
    return { responses: message.tokens.map((t) => t.endsWith('gone') ? { error: { code: 'messaging/registration-token-not-registered' } } : {}) }
  } })`);
  expect(await run("fcm.mjs", sample("docs/push.md", "js", "firebase-admin/app"))).toEqual([
    { tokens: ["7-phone", "7-gone"], notification: { title: "T", body: "M" }, data: { id: "27", seq: "3", url: "/reports/7" }, android: { collapseKey: "export-9" } },
    { forget: "7-gone" },
  ]);
});

test("the sample for APNs sends to each device over HTTP/2 and forgets those that are gone", async () => {
  const received: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    received.push({ headers: request.headers, body });
    response.writeHead(request.url.endsWith("gone") ? 410 : 200).end();
  }).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const apple = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const printed = await run("apns.mjs", sample("docs/push.md", "js", "api.push.apple.com").replace("https://api.push.apple.com", apple));
    expect(printed).toEqual([{ forget: "7-gone" }]);
  } finally {
    server.close();
  }
  expect(received.map((r) => r.headers[":path"]).sort()).toEqual(["/3/device/7-gone", "/3/device/7-phone"]);
  for (const { headers, body } of received) {
    expect(headers).toMatchObject({
      ":method": "POST", authorization: "bearer provider-token", "apns-topic": "com.example.app", "apns-push-type": "alert", "apns-collapse-id": "export-9",
    });
    expect(JSON.parse(body)).toEqual({ aps: { alert: { title: "T", body: "M" }, sound: "default" }, seq: 3, url: "/reports/7" });
  }
});
