// Copies the built client to where the server embeds it, api/web/static/client, which
// is committed: an application without npm imports it from /client/. In a browser the
// name "mqtt" cannot be resolved, so it is replaced with the vendored bundle. With --check it writes
// nothing and fails if the committed files do not match the sources.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const built = new URL("../dist/", import.meta.url);
const served = new URL("../../../api/web/static/client/", import.meta.url);
const wanted = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).dependencies.mqtt;

const files = new Map(readdirSync(built).sort().map((name) => {
  const text = readFileSync(new URL(name, built), "utf8");
  return [name, name.endsWith(".js") ? text.replaceAll('import("mqtt")', `import("./vendor/mqtt-${wanted}/mqtt.esm.js")`) : text];
}));

const there = readdirSync(served, { withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name);
if (process.argv.includes("--check")) {
  const stale = [...files.keys(), ...there.filter((name) => !files.has(name))]
    .filter((name) => !there.includes(name) || !files.has(name) || readFileSync(new URL(name, served), "utf8") !== files.get(name));
  if (stale.length > 0) {
    console.error(`api/web/static/client does not match the sources (${stale.join(", ")}): run npm run serve`);
    process.exit(1);
  }
} else {
  mkdirSync(served, { recursive: true });
  for (const name of there) rmSync(new URL(name, served));
  for (const [name, text] of files) writeFileSync(new URL(name, served), text);
}
