import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Checkout, commands } from "./checkout.js";
import { launch } from "./chromium.js";
import { freePort, Program } from "./program.js";

const program = new Program();
const checkout = new Checkout();
let port: number;
let browser: Browser;

beforeAll(async () => {
  port = await freePort();
  await program.build("--cors-origins", `http://localhost:${port}`);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  checkout.close();
  await program.close();
});

const timeout = 120_000; // the commands begin with npm install
const until = (f: () => void | Promise<void>) => vi.waitFor(f, { timeout, interval: 50 });

const environment = () => ({
  FALCON_TOKEN: program.token("--user", "1"),
  FALCON_MQTT_URL: `mqtt://127.0.0.1:${program.mqttPort}`,
  FALCON_PORT: String(program.mqttPort),
  PATH: `/usr/bin:${process.env["PATH"]}`, // Debian's python3 has Debian's python3-paho-mqtt
});

test.each([
  ["node", () => commands("node")],
  ["python", () => "python3 examples/python/listen.py"],
])("%s keeps its session", async (name, script) => {
  await program.notify(`${name} before`);
  const first = checkout.begin(script(), environment());
  await until(() => expect(first.lines.at(-1)).toContain(`${name} before`));
  await program.notify(`${name} live`);
  await until(() => expect(first.lines.at(-1)).toContain(`${name} live`));
  first.stop();
  await program.notify(`${name} absent 1`);
  await program.notify(`${name} absent 2`);
  const second = checkout.begin(script(), environment());
  await until(() => expect(second.lines.map((l) => l.replace(/^#\d+ /, ""))).toEqual(
    expect.arrayContaining([`${name} absent 1`, `${name} absent 2`])));
  expect(second.lines.filter((l) => l.endsWith("absent 1"))).toHaveLength(1);
}, 3 * timeout);

test("node reports a missing or invalid token", () => {
  for (const given of [undefined, "", "nonsense"]) {
    const { FALCON_TOKEN: _, ...env } = process.env;
    const { status, stderr } = spawnSync("node", ["listen.mjs"], {
      cwd: join(checkout.dir, "examples/node"), encoding: "utf8", env: given === undefined ? env : { ...env, FALCON_TOKEN: given },
    });
    expect([status, stderr.trim().split("\n").length]).toEqual([1, 1]);
    expect(stderr).toContain("FALCON_TOKEN: set it to a token");
  }
});

test("node with a refused token ends", () => {
  const { status, stderr } = spawnSync("node", ["listen.mjs"], {
    cwd: join(checkout.dir, "examples/node"), encoding: "utf8", timeout: 40_000,
    env: { ...process.env, ...environment(), FALCON_TOKEN: `${program.token("--user", "1")}A` },
  });
  expect([status, stderr]).toEqual([1, expect.stringContaining("Connection refused: Bad User Name or Password")]);
});

test("the bare page shows history and live notifications", async () => {
  checkout.begin(commands("page").replace("5500", String(port)));
  await program.notify("page before");
  const page = await browser.newPage();
  await until(async () => void (await page.goto(`http://localhost:${port}/#url=${program.url}&token=${program.token("--user", "1")}`)));
  const newest = () => page.locator("li").first().textContent();
  await until(async () => expect([await page.textContent("#state"), await newest()]).toEqual(["live", "page before: m"]));
  await program.notify("page live");
  await until(async () => expect(await newest()).toBe("page live: m"));
}, 3 * timeout);
