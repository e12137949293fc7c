// Listens as a persistent device and prints one line a notification.
//   npm install && FALCON_TOKEN=<token> node listen.mjs
import mqtt from "mqtt";

const url = process.env.FALCON_MQTT_URL ?? "mqtt://127.0.0.1:1883";
const token = process.env.FALCON_TOKEN ?? "";
const user = userOf(token);
if (user === undefined) {
  console.error("FALCON_TOKEN: set it to a token of the user, such as falconbridge token --user 1 prints");
  process.exit(1);
}
// Keep both on disk, together, and nothing is ever shown twice. A new epoch means that
// the log was restored: its seqs are given again, so those known before mean nothing.
let epoch = "";
let last = 0;
let latest = 0; // came with the retain flag

const client = mqtt.connect(url, {
  protocolVersion: 5,
  clientId: process.env.FALCON_CLIENT ?? "example-node",
  username: "token",
  password: token,
  reconnectOnConnackError: true, // 0x88 while the database is unavailable: without this, mqtt.js gives up
  clean: false, // keep our place …
  properties: { sessionExpiryInterval: 7 * 24 * 3600 }, // … for a week
});

client.on("connect", ({ sessionPresent }) => {
  console.error(sessionPresent ? "back: what was missed follows" : "connected");
  // Retain handling 1: the latest notification comes with the first subscription only.
  if (!sessionPresent) client.subscribe(`users/${user}/reports/status`, { qos: 1, rh: 1 });
});

client.on("message", (_topic, payload, packet) => {
  const item = JSON.parse(payload);
  const now = packet.properties?.userProperties?.epoch ?? "";
  if (now !== epoch) [epoch, last, latest] = [now, 0, 0];
  if (item.seq <= last) return; // a repeat
  const shown = item.seq === latest;
  if (packet.retain) {
    latest = item.seq; // never last: what was missed before it may still follow
  } else {
    if (last > 0 && item.seq > last + 1) console.error(`jumped from ${last} to ${item.seq}: ask GET /notifications?after=${last}`);
    last = item.seq;
  }
  if (!shown) console.log(`#${item.seq} ${item.title}`);
});

client.on("error", (error) => {
  console.error(error.message);
  if (error.code !== 0x86 && error.code !== 0x87) return; // tried again
  process.exitCode = 1; // the token is refused, and trying again would not help
  client.end();
});

/** The user of a token, undefined where it is none. */
function userOf(token) {
  try {
    return JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sub;
  } catch {
    return undefined;
  }
}
