// The table of live connections.

import { $, arrange, h, setText } from "./dom.js";
import { fullTime, number, since, t } from "./i18n.js";

const protocols = { 4: "3.1.1", 5: "5" };

const columns = {
  userId: (c, pick) => h("button", { type: "button", class: "link strong", onclick: () => pick(String(c.user)) }, String(c.user)),
  client: (c) => [h("code", { dir: "auto", title: c.client_id }, c.client_id), c.persistent ? h("span", { class: "tag", title: t("persistentHint") }, t("persistent")) : null],
  protocol: (c) => `MQTT ${protocols[c.protocol] ?? c.protocol}`,
  transport: (c) => c.transport,
  node: (c) => c.node,
  address: (c) => c.remote,
  connectedFor: (c) => h("time", { datetime: c.since, title: fullTime(new Date(c.since)) }, since(c.since)),
};

/** A table of connections with those columns; pick(user) opens a user. */
export function connectionTable(list, shown = Object.keys(columns), pick = null) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": t("connections") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, shown.map((key) => h("th", { scope: "col" }, t(key))))),
      h("tbody", {}, list.map((c) => h("tr", {}, shown.map((key) => h("td", {}, columns[key](c, pick)))))),
    ),
  );
}

/** "12 · MQTT 5: 8 · ws: 5": how the listed ones spread. */
function spread(list, more) {
  const count = (of) => {
    const groups = new Map();
    for (const c of list) groups.set(of(c), (groups.get(of(c)) ?? 0) + 1);
    return [...groups].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${number(n)}`);
  };
  const users = new Set(list.map((c) => c.user)).size;
  return [t("usersCount", users), ...count((c) => `MQTT ${protocols[c.protocol] ?? c.protocol}`), ...count((c) => c.transport)].join(" · ") + (more ? ` · ${t("first", list.length)}` : "");
}

export class Connections {
  #rest;
  #pick;
  #pages = 1;
  #last = [];
  #more = false;

  constructor(rest, pick) {
    this.#rest = rest;
    this.#pick = pick;
  }

  /** Reads the pages shown so far anew. */
  async refresh() {
    const list = [];
    let query = { limit: 100 };
    for (let i = 0; i < this.#pages && query; i++) {
      const page = await this.#rest.page("admin/connections", query);
      list.push(...page.items);
      query = page.next;
    }
    this.#last = list;
    this.#more = query !== null;
    this.draw();
  }

  draw() {
    const root = $("connections");
    const list = this.#last;
    setText($("spread"), list.length ? spread(list, this.#more) : "");
    if (list.length === 0) return root.replaceChildren(h("p", { class: "none" }, t("noConnections")));
    const held = root.contains(document.activeElement) ? document.activeElement.textContent : null;
    const scrolled = root.querySelector(".scroll")?.scrollTop ?? 0;
    const table = connectionTable(list, undefined, this.#pick);
    const more = h("button", { type: "button", class: "quiet", onclick: () => (this.#pages++, this.refresh()) }, t("more"));
    arrange(root, this.#more ? [table, more] : [table]);
    table.scrollTop = scrolled;
    // The table is drawn anew each time; whoever was in it with the keyboard stays there.
    if (held !== null) [...root.querySelectorAll("button")].find((b) => b.textContent === held)?.focus();
  }
}
