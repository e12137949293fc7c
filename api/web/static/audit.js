// The audit log.

import { $, h } from "./dom.js";
import { fullTime, since, t } from "./i18n.js";
import { Paged } from "./paged.js";
import { table, userButton } from "./connections.js";

export class Audit extends Paged {
  #pick;

  constructor(rest, run, pick) {
    super(rest, run, "admin/audit", "audit-again");
    this.#pick = pick;
  }

  draw() {
    const root = $("audit");
    if (this.list.length === 0) return root.replaceChildren(h("p", { class: "none" }, t("noAudit")));
    root.replaceChildren(h(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": t("audit") },
      table(t("audit"), [{ name: t("when") }, { name: t("who") }, { name: t("action") }, { name: t("userId") }, { name: t("address") }], this.list.map((e) => [
        h("time", { datetime: e.at, title: fullTime(new Date(e.at)) }, since(e.at)),
        String(e.sub),
        [t(`action_${e.action.replace(".", "_")}`) ?? e.action, e.detail ? h("span", { class: "hint detail" }, e.detail) : null],
        e.user === null ? "–" : userButton(e.user, this.#pick),
        e.remote,
      ])),
    ));
    this.older(root, "older");
  }
}
