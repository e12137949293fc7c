// Who did what: the audit log.

import { $, h } from "./dom.js";
import { fullTime, since, t } from "./i18n.js";
import { table, userButton } from "./connections.js";

export class Audit {
  #rest;
  #run;
  #pick;
  #list = [];
  #next = null;

  constructor(rest, run, pick) {
    this.#rest = rest;
    this.#run = run;
    this.#pick = pick;
    $("audit-again").onclick = () => this.refresh();
  }

  refresh() {
    return this.#run(() => this.#read({ limit: 25 }, []));
  }

  async #read(query, before) {
    const page = await this.#rest.page("admin/audit", query);
    this.#list = [...before, ...page.items];
    this.#next = page.next;
    this.draw();
  }

  draw() {
    const root = $("audit");
    if (this.#list.length === 0) return root.replaceChildren(h("p", { class: "none" }, t("noAudit")));
    root.replaceChildren(h(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": t("audit") },
      table(t("audit"), [{ name: t("when") }, { name: t("who") }, { name: t("action") }, { name: t("userId") }, { name: t("address") }], this.#list.map((e) => [
        h("time", { datetime: e.at, title: fullTime(new Date(e.at)) }, since(e.at)),
        String(e.sub),
        [t(`action_${e.action.replace(".", "_")}`) ?? e.action, e.detail ? h("span", { class: "hint detail" }, e.detail) : null],
        e.user === null ? "–" : userButton(e.user, this.#pick),
        e.remote,
      ])),
    ));
    if (this.#next) root.append(h("button", { type: "button", class: "quiet", onclick: () => this.#run(() => this.#read(this.#next, this.#list)) }, t("older")));
  }
}
