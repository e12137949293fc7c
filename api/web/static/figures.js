// The charts over what GET /admin/stats says and what the wildcard subscription hears.

import { Chart } from "./chart.js";
import { $, h, setText } from "./dom.js";
import { number, since, t } from "./i18n.js";

export const statsEvery = 5_000; // ms: nodes beat as often, so more would show nothing new

const rate = (n) => number(n < 10 ? Math.round(n * 10) / 10 : Math.round(n));
const milliseconds = (n) => `${number(Math.round(n))} ms`;

export class Figures {
  #charts = {
    connections: new Chart(number),
    arrivals: new Chart(rate),
    sent: new Chart(rate),
    latency: new Chart(milliseconds),
    backlog: new Chart(number),
    refusals: new Chart(rate),
    answer: new Chart(milliseconds),
  };
  #before = null;
  #heard = 0;
  #delays = [];
  #refusals = false; // whether the server tells of them

  constructor() {
    this.name();
    $("charts").replaceChildren(...Object.entries(this.#charts).filter(([key]) => key !== "refusals").map(([, c]) => c.node));
  }

  /** Writes the names, again after another language was chosen. */
  name() {
    for (const [key, chart] of Object.entries(this.#charts)) chart.name(t(`chart_${key}`));
  }

  /** One notification came over the wildcard subscription. */
  heard(item) {
    this.#heard++;
    // Two clocks are compared: a browser whose clock is behind would count below zero.
    this.#delays.push(Math.max(0, Date.now() - Date.parse(item.created_at)));
  }

  /** Takes the figures of one poll, which took ms milliseconds. */
  add(stats, ms) {
    const now = performance.now();
    const span = this.#before ? (now - this.#before.at) / 1000 : 0;
    // A node that restarted counts from 0 again: such a step tells nothing.
    const perSecond = (key) => {
      const grown = span > 0 ? stats[key] - this.#before.stats[key] : -1;
      return grown >= 0 ? grown / span : null;
    };
    const delays = this.#delays.sort((a, b) => a - b);
    const at = (p) => delays[Math.min(delays.length - 1, Math.floor(delays.length * p))];
    const c = this.#charts;
    c.connections.add(stats.connections, t("onNodes", stats.nodes.length));
    c.arrivals.add(span > 0 ? this.#heard / span : null, t("perSecond"));
    c.sent.add(perSecond("sent"), t("perSecond"));
    c.latency.add(delays.length ? at(0.5) : null, delays.length ? `p95 ${milliseconds(at(0.95))}` : t("quiet"));
    c.backlog.add(Math.max(0, stats.sent - stats.acked), t("unacknowledged"));
    c.answer.add(ms, "GET /admin/stats");
    if (stats.refused !== undefined) {
      if (!this.#refusals) $("charts").append(c.refusals.node);
      this.#refusals = true;
      c.refusals.add(perSecond("refused"), t("perSecond"));
    }
    this.#before = { at: now, stats };
    this.#heard = 0;
    this.#delays = [];
  }
}

/** The nodes, and whether the one that answers is ready. */
export function drawNodes(stats, ready) {
  const silent = 12_000; // ms, after which a node counts as dead
  const newest = Math.max(...stats.nodes.map((n) => Date.parse(n.beat_at)));
  setText($("ready"), t(ready ? "ready" : "notReady"));
  $("ready").dataset.state = ready ? "live" : "away";
  $("nodes").replaceChildren(
    h("ul", { class: "nodes" }, stats.nodes.map((n) => {
      const well = newest - Date.parse(n.beat_at) < silent;
      return h(
        "li",
        { "data-state": well ? "live" : "away" },
        h("span", { class: "dot", "aria-hidden": "true" }),
        h("strong", {}, n.node),
        h("span", { class: "hint" }, `${t(well ? "beats" : "silent")} · ${t("up", since(n.started_at))}`),
        h("span", { class: "hint" }, t("nodeFigures", n.connections, n.sent, n.acked)),
      );
    })),
    h("p", { class: "hint" }, `${t("version")} ${stats.version} · ${t("epoch")} ${stats.epoch}`),
  );
}
