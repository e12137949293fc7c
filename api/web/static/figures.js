// The charts of GET /admin/stats and of the wildcard subscription.
// Each explains what it counts. This page's own connection is not counted.

import { Chart, minutes } from "./chart.js";
import { $, h, setText, show } from "./dom.js";
import { number, precise, since, t, timeOfDay } from "./i18n.js";

export const statsEvery = 5_000; // ms: nodes send a heartbeat every 4 s, so polling faster shows nothing new

const rate = (n) => number(n < 10 ? Math.round(n * 10) / 10 : Math.round(n));
const whole = (n) => number(Math.round(n));

const units = { arrivals: "perSecond", sent: "perSecond", refusals: "perSecond", latency: "milliseconds", answer: "milliseconds", connections: "devicesUnit", backlog: "messagesUnit" };

export class Figures {
  #charts = {
    connections: new Chart(number),
    arrivals: new Chart(rate),
    sent: new Chart(rate),
    backlog: new Chart(number),
    latency: new Chart(whole, 10),
    refusals: new Chart(rate),
    answer: new Chart(whole, 10),
  };
  #opened = new Date();
  #read = null; // when the figures shown were read
  #before = null; // the figures of the previous heartbeat, and its time
  #first = null; // the figures of the first poll
  #rates = { sent: null, refused: null };
  #received = 0; // since the last poll
  #receivedAt = performance.now();
  #receivedInAll = 0;
  #delays = [];

  constructor() {
    this.name();
    $("charts").replaceChildren(...Object.values(this.#charts).map((c) => c.node));
    show($("as-of"), false);
  }

  /** Writes the names in the chosen language. */
  name() {
    for (const [key, chart] of Object.entries(this.#charts)) chart.name(t(`chart_${key}`), (n) => t(units[key], n), t("minutesAgo", minutes(statsEvery)), t("now"));
  }

  /** Counts a notification of the wildcard subscription. */
  heard(item) {
    this.#received++;
    this.#receivedInAll++;
    // Two clocks are compared: if the browser's is behind, the difference is negative.
    this.#delays.push(Math.max(0, Date.now() - Date.parse(item.created_at)));
  }

  /** Adds the figures of one poll, which took ms milliseconds. own connections are this page's. */
  add(stats, ms, own) {
    const at = Math.max(...stats.nodes.map((n) => Date.parse(n.beat_at)));
    const figures = { at, sent: stats.sent - stats.copies, refused: stats.refused };
    // Rates are computed between heartbeats, when the figures change. A node that restarted
    // counts from 0 again, so such a step is skipped.
    if (this.#before && at > this.#before.at) {
      for (const key of ["sent", "refused"]) {
        const grown = figures[key] - this.#before[key];
        this.#rates[key] = grown >= 0 ? (grown * 1000) / (at - this.#before.at) : null;
      }
    }
    if (!this.#before || at > this.#before.at) this.#before = figures;
    this.#first ??= figures;

    const now = performance.now();
    const opened = timeOfDay(this.#opened);
    const delays = this.#delays.sort((a, b) => a - b);
    const quantile = (p) => delays[Math.min(delays.length - 1, Math.floor(delays.length * p))];
    const c = this.#charts;
    c.connections.add(stats.connections - own, t("connectionsNote", stats.nodes.length));
    c.arrivals.add((this.#received * 1000) / (now - this.#receivedAt), t("arrivalsNote", this.#receivedInAll, opened));
    c.sent.add(this.#rates.sent, t("sentNote", Math.max(0, figures.sent - this.#first.sent), opened));
    c.backlog.add(stats.in_flight, t("backlogNote"));
    c.latency.add(delays.length ? quantile(0.5) : null, delays.length ? t("latencyNote", whole(quantile(0.95))) : t("quiet"));
    c.refusals.add(this.#rates.refused, t("refusalsNote", Math.max(0, figures.refused - this.#first.refused), opened));
    c.answer.add(ms, "GET /admin/stats");
    this.#received = 0;
    this.#receivedAt = now;
    this.#delays = [];
    this.#read = new Date();
    show($("as-of"), false);
  }

  /** A poll failed: the last figures stay, marked with the time they were read, and the time axes go on. */
  stale() {
    if (!this.#read) return;
    for (const chart of Object.values(this.#charts)) chart.skip();
    setText($("as-of"), t("asOf", precise(this.#read)));
    show($("as-of"), true);
  }
}

/** The seconds since each node's last heartbeat at now, the server's time in ms. */
export const agesOf = (stats, now) => new Map(stats.nodes.map((n) => [n.node, Math.max(0, Math.round((now - Date.parse(n.beat_at)) / 1000))]));

/** The nodes, and whether the one that responds is ready; null if none does. */
export function drawNodes(stats, ages, ready, quiet) {
  show($("ready"), ready !== null);
  setText($("ready"), t(ready ? "ready" : "notReady"));
  $("ready").dataset.state = ready ? "live" : "away";
  $("nodes").replaceChildren(
    h("ul", { class: "nodes" }, stats.nodes.map((n) => {
      const well = ages.get(n.node) <= quiet;
      return h(
        "li",
        { "data-state": well ? "live" : "away" },
        h("span", { class: "dot", "aria-hidden": "true" }),
        h("strong", {}, n.node),
        h("span", { class: "hint" }, `${t(well ? "beats" : "silent", ages.get(n.node))} · ${t("up", since(n.started_at))}`),
        h("span", { class: "hint" }, t("nodeFigures", n.connections, n.sent - n.copies, n.copies)),
      );
    })),
    h("p", { class: "hint" }, `${t("version")} ${stats.version} · ${t("epoch")} ${stats.epoch}`),
  );
}
