// The devices: the connected ones, and the absent ones with how far behind they are.

import { confirm } from "./confirm.js";
import { $, h, setText, show } from "./dom.js";
import { fullTime, since, t, until } from "./i18n.js";

const protocols = { 4: "3.1.1", 5: "5" };
const pageSize = 50;

export const userButton = (user, pick) => h("button", { type: "button", class: "link strong", onclick: () => pick(String(user)) }, String(user));

const moment = (at, words = since) => h("time", { datetime: at, title: fullTime(new Date(at)) }, words(at));

/** The number of notifications that a device has not acknowledged. */
export const lag = (d) => h("span", { class: d.lag > 0 ? "behind" : null }, d.lag === null ? t("notSubscribed") : d.lag === 0 ? t("upToDate") : t("behind", d.lag));

/** A table that becomes a list of cards on a narrow screen: each cell has its column's name. */
export function table(label, columns, rows) {
  return h(
    "table",
    { class: "cards", "aria-label": label },
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", "aria-sort": c.sorted ?? null }, c.head ?? c.name)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, i) => h("td", { "data-name": columns[i].name, class: columns[i].class }, cell))))),
  );
}

/** The action of an operator on one device; done runs afterwards. */
export class DeviceActions {
  #rest;
  #run;

  constructor(rest, run) {
    this.#rest = rest;
    this.#run = run;
  }

  /** A button that ends the connection of a device, or removes an absent one. */
  button(device, done) {
    const verb = device.connected === false ? "removeDevice" : "endDevice";
    const name = `${String(device.user)} · ${device.client_id}`;
    return h("button", { type: "button", class: "link end", "aria-label": `${t(verb)}: ${name}`, onclick: () => this.#ask(verb, device, name, done) }, t(verb));
  }

  async #ask(verb, { user, client_id }, name, done) {
    if (!(await confirm({ title: t(`${verb}Title`), what: name, text: t(`${verb}Text`), yes: t(verb) }))) return;
    const path = `admin/users/${encodeURIComponent(user)}/${verb === "endDevice" ? "connections" : "devices"}/${encodeURIComponent(client_id)}`;
    await this.#run(() => this.#rest.send("DELETE", path), () => t(`${verb}Done`, client_id), name);
    await done();
  }
}

/** The panel of all devices: two lists, one search, filters and pages. */
export class Connections {
  #rest;
  #run;
  #pick;
  #own;
  #actions;
  #absent = false;
  #sort = "user";
  #pages = [null]; // the queries of the pages up to the shown one; null: the first
  #next = null;
  #list = [];
  #asked = 0; // counts the calls, because only the last response is shown
  #nodes = new Map(); // name → seconds since its last heartbeat

  /** own(clientId) reports whether a connection is this page's own, which is not listed. */
  constructor(rest, run, pick, own) {
    this.#rest = rest;
    this.#run = run;
    this.#pick = pick;
    this.#own = own;
    this.#actions = new DeviceActions(rest, run);
    for (const button of document.querySelectorAll("[data-list]")) {
      button.onclick = () => {
        this.#absent = button.dataset.list === "absent";
        this.#restart();
      };
    }
    let typing;
    $("match").oninput = () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#restart(), 250);
    };
    $("devices-form").onsubmit = (e) => {
      e.preventDefault();
      clearTimeout(typing);
      this.#restart();
    };
    for (const id of ["by-node", "by-protocol", "by-transport", "only-behind"]) $(id).onchange = () => this.#restart();
    $("sort").onchange = () => this.#sortBy($("sort").value);
    $("page-back").onclick = () => this.#turn(() => this.#pages.pop());
    $("page-on").onclick = () => this.#turn(() => this.#pages.push(this.#next));
  }

  #sortBy(sort) {
    this.#sort = sort;
    $("sort").value = sort;
    this.#restart();
  }

  /** Returns to the first page, after the filters changed. */
  #restart() {
    this.#pages = [null];
    this.#run(() => this.refresh());
  }

  #turn(change) {
    change();
    this.#run(() => this.refresh());
    $("connections-title").scrollIntoView({ block: "nearest" });
  }

  #query() {
    const match = $("match").value.trim();
    const query = { limit: pageSize, match };
    if (this.#absent) return { ...query, absent: "true", behind: $("only-behind").checked ? "true" : "" };
    return { ...query, node: $("by-node").value, protocol: $("by-protocol").value, transport: $("by-transport").value, sort: this.#sort };
  }

  /** Reads the shown page again. */
  async refresh() {
    const asked = ++this.#asked;
    const list = [];
    let next = this.#pages.at(-1) ?? this.#query();
    // If few devices match, a page may be short and have a next one: read a few at a time.
    for (let reads = 0; next && reads < 5 && (reads === 0 || list.length === 0); reads++) {
      const page = await this.#rest.page(this.#absent ? "admin/devices" : "admin/connections", next);
      list.push(...page.items.filter((c) => !this.#own(c.client_id)));
      next = page.next;
    }
    if (asked !== this.#asked) return;
    this.#list = list;
    this.#next = next;
    this.draw();
  }

  /** Sets the nodes, with the time since the last heartbeat of each, in seconds. */
  nodes(ages) {
    const names = [...ages.keys()].sort();
    if (names.join() !== [...this.#nodes.keys()].sort().join()) {
      const chosen = $("by-node").value;
      $("by-node").replaceChildren(h("option", { value: "" }, t("anyNode")), ...names.map((n) => h("option", { value: n }, n)));
      $("by-node").value = names.includes(chosen) ? chosen : "";
    }
    this.#nodes = ages;
  }

  draw() {
    for (const button of document.querySelectorAll("[data-list]")) button.setAttribute("aria-pressed", String((button.dataset.list === "absent") === this.#absent));
    show($("connected-filters"), !this.#absent);
    show($("absent-filters"), this.#absent);
    const root = $("connections");
    const page = this.#pages.length;
    show($("pager"), page > 1 || this.#next !== null);
    $("page-back").disabled = page === 1;
    $("page-on").disabled = this.#next === null;
    setText($("page"), t("page", page));
    setText($("spread"), t(this.#next ? "listedSome" : "listed", this.#list.length));
    if (this.#list.length === 0) return root.replaceChildren(h("p", { class: "none" }, t(this.#filtered() ? "noMatch" : this.#absent ? "noAbsent" : "noConnections")));
    const focused = root.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent : null;
    root.replaceChildren(this.#absent ? this.#absentTable() : this.#connectedTable());
    // The table is replaced each time, so restore the keyboard focus in it.
    if (focused !== null) [...root.querySelectorAll("button")].find((b) => (b.getAttribute("aria-label") ?? b.textContent) === focused)?.focus();
  }

  #filtered() {
    const { limit, sort, absent, ...filters } = this.#query();
    return Object.values(filters).some(Boolean);
  }

  /** A sortable column: first ascending, then descending. */
  #sortable(name, key) {
    const sorted = this.#sort === key ? "ascending" : this.#sort === `-${key}` ? "descending" : "none";
    const head = h("button", { type: "button", class: "link sort", onclick: () => this.#sortBy(sorted === "ascending" ? `-${key}` : key) },
      name, h("span", { "aria-hidden": "true" }, { ascending: " ↑", descending: " ↓", none: " ↕" }[sorted]));
    return { name, head, sorted };
  }

  #client(c) {
    return h("code", { dir: "auto", title: c.client_id }, c.client_id);
  }

  #connectedTable() {
    return table(t("connections"), [
      this.#sortable(t("userId"), "user"), { name: t("client") }, { name: t("protocol") }, { name: t("node") }, { name: t("address") },
      this.#sortable(t("connectedFor"), "since"), { name: "", head: h("span", { class: "unseen" }, t("does")), class: "act" },
    ], this.#list.map((c) => {
      const age = this.#nodes.get(c.node);
      return [
        userButton(c.user, this.#pick),
        [this.#client(c), c.persistent ? h("span", { class: "tag", title: t("persistentHint") }, t("persistent")) : null],
        `MQTT ${protocols[c.protocol] ?? c.protocol} · ${c.transport}`,
        [c.node, age === undefined || age > quiet ? h("span", { class: "tag stale" }, t("stale", age)) : null],
        c.remote,
        moment(c.since),
        this.#actions.button(c, () => this.#run(() => this.refresh())),
      ];
    }));
  }

  #absentTable() {
    return table(t("absent"), [
      { name: t("userId") }, { name: t("client") }, { name: t("lag") }, { name: t("lastSeen") }, { name: t("expires") }, { name: "", head: h("span", { class: "unseen" }, t("does")), class: "act" },
    ], this.#list.map((d) => [
      userButton(d.user, this.#pick), this.#client(d), lag(d), moment(d.last_seen_at), d.expires_at ? moment(d.expires_at, until) : "–",
      this.#actions.button(d, () => this.#run(() => this.refresh())),
    ]));
  }
}

/**
 * Seconds after which a node's connections are marked as stale. Heartbeats are sent every 4, and a
 * node that stopped is listed for 12, so that at least one poll shows it before it disappears.
 */
export const quiet = 6;

/** The devices of one user, with and without a session. */
export async function devicesOf(rest, user, own) {
  const [live, kept] = await Promise.all([
    rest.page("admin/connections", { user, limit: 50 }),
    rest.page("admin/devices", { user, limit: 50 }),
  ]);
  const all = new Map();
  for (const d of kept.items) all.set(d.client_id, { ...d, at: d.last_seen_at });
  for (const c of live.items) {
    if (!own(c.client_id)) all.set(c.client_id, { lag: null, ...all.get(c.client_id), ...c, connected: true, at: c.since });
  }
  return [...all.values()].sort((a, b) => (a.client_id < b.client_id ? -1 : 1));
}

export const deviceState = (d) => t(d.connected ? "connectedSince" : "absentSince", since(d.at));
