// The live side: one MQTT 5 connection over WebSocket, kept up.

import { ticker } from "./timers.js";

/** Reason codes that say the token is not good (any more); see the contract, section 3. */
const refusals = new Set([0x86, 0x87, 0x8c]);

const first = 1_000; // ms, the least a retry waits at most
const last = 30_000; // ms

const text = new TextDecoder();
let library;

function load() {
  library ??= import("../client/vendor/mqtt-5.16.0/mqtt.esm.js").then((m) => m.default);
  library.catch(() => (library = undefined)); // a failed load may be tried again
  return library;
}

/** A client id of this tab's own: two tabs with one id would end each other's connection. */
function clientID(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return prefix + Array.from(bytes, (b) => b.toString(36).padStart(2, "0")).join("");
}

function address() {
  const url = new URL("mqtt", new URL(".", document.baseURI));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/**
 * Live delivers what is published on one topic filter. It calls
 *   up()                  subscribed: from now on nothing is missed
 *   down()                the connection ended; it is being tried again
 *   message(item, packet) one notification
 *   refused(code)         the token is not taken; nothing is tried again
 */
export class Live {
  #options;
  #client = null;
  #retry = null;
  #attempt = 0;
  #stopped = true;

  constructor({ token, filter, name = "page-", retained = false, up, down, message, refused }) {
    this.#options = { token, filter, retained, up, down, message, refused, id: clientID(name) };
  }

  start() {
    this.#stopped = false;
    this.#attempt = 0;
    this.#open();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#drop();
  }

  /** Tries at once instead of after the pause: the network is back, the tab is looked at. */
  hurry() {
    if (this.#stopped || this.#client) return;
    clearTimeout(this.#retry);
    this.#attempt = 0;
    this.#open();
  }

  async #open() {
    const { token, filter, retained, up, message, refused, id } = this.#options;
    let mqtt;
    try {
      mqtt = await load();
    } catch {
      this.#failed();
      return;
    }
    if (this.#stopped || this.#client) return;
    const client = mqtt.connect(address(), {
      protocolVersion: 5,
      clientId: id,
      username: "",
      password: token,
      clean: true,
      keepalive: 45, // under the 60 s after which many proxies close an idle socket
      connectTimeout: 10_000,
      reconnectPeriod: 0, // we do that, with a growing, uneven pause
      resubscribe: false,
      timerVariant: ticker,
    });
    this.#client = client;
    // Each handler asks whether it still speaks for the current connection.
    const current = (f) => (...args) => client === this.#client && f(...args);
    const refuse = current((code) => {
      this.stop();
      refused(code);
    });
    client.on("error", (e) => refusals.has(e?.code) && refuse(e.code));
    client.on("disconnect", (p) => refusals.has(p.reasonCode) && refuse(p.reasonCode));
    client.on("close", current(() => this.#failed()));
    client.on("message", current((_topic, payload, packet) => {
      const item = parse(payload);
      if (item) message(item, packet);
    }));
    client.on("connect", current(() => {
      // Retain handling 2: the history comes from REST, so no retained copy is needed.
      client.subscribe(filter, { qos: 1, rh: retained ? 0 : 2 }, current((error, granted) => {
        const code = error?.packet?.granted?.[0] ?? granted?.[0]?.qos ?? 0x80;
        if (refusals.has(code)) return refuse(code);
        if (error || code > 2) return this.#failed();
        this.#attempt = 0;
        up();
      }));
    }));
  }

  #failed() {
    const was = this.#client;
    this.#drop();
    if (this.#stopped) return;
    // Full jitter: after a restart not everybody comes back in the same moment.
    const most = Math.min(last, first * 2 ** this.#attempt++);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), most / 4 + Math.random() * most * 0.75);
    if (was) this.#options.down();
  }

  #drop() {
    const client = this.#client;
    this.#client = null;
    client?.end(true);
    client?.on("error", () => {}); // an error after the end concerns nobody
  }
}

function parse(payload) {
  try {
    const item = JSON.parse(text.decode(payload));
    return Number.isSafeInteger(item.seq) ? item : null;
  } catch {
    return null;
  }
}
