// One user: their history and deliveries, their connections, and what an operator may
// do to them.

import { $, h, show } from "./dom.js";
import { connectionTable } from "./connections.js";
import { fullTime, since, t } from "./i18n.js";

const page = 20;

export class Person {
  #rest;
  #run;
  #user = null;
  #history = [];
  #more = false;
  #connections = [];

  /** run(act, done) does something and tells how it went. */
  constructor(rest, run) {
    this.#rest = rest;
    this.#run = run;
    $("find").onsubmit = (e) => {
      e.preventDefault();
      if ($("who").value.trim()) this.open($("who").value.trim());
    };
  }

  get user() {
    return this.#user;
  }

  async open(user) {
    $("who").value = user;
    await this.#run(async () => {
      const [first, live] = await Promise.all([
        this.#rest.list({ user, limit: page }),
        this.#rest.page("admin/connections", { user, limit: 50 }),
      ]);
      this.#user = user;
      this.#history = first.items;
      this.#more = first.more;
      this.#connections = live.items;
      this.draw();
      $("person-title").scrollIntoView({ block: "nearest" });
    });
  }

  refresh() {
    return this.#user === null ? undefined : this.open(this.#user);
  }

  /** A notification of this user came live. */
  heard(item) {
    if (String(item.created_by) !== this.#user || this.#history.some((n) => n.seq === item.seq)) return;
    this.#history.unshift(item);
    const list = $("person").querySelector(".history");
    if (list) list.prepend(this.#row(item));
    else this.draw();
  }

  draw() {
    const root = $("person");
    if (this.#user === null) return root.replaceChildren(h("p", { class: "none" }, t("personHint")));
    root.replaceChildren(
      h(
        "div",
        { class: "person" },
        h("div", {}, h("h3", {}, t("history")), this.#list()),
        h("div", {}, h("h3", {}, t("sendTest")), this.#form(), h("h3", {}, t("actions")), this.#actions(), h("h3", {}, t("devices")), this.#devices()),
      ),
    );
  }

  #list() {
    if (this.#history.length === 0) return h("p", { class: "none" }, t("noHistory"));
    const list = h("ol", { class: "history" }, this.#history.map((item) => this.#row(item)));
    const more = h("button", { type: "button", class: "quiet", onclick: () => this.#run(async () => {
      const next = await this.#rest.list({ user: this.#user, limit: page, before: this.#history.at(-1).seq });
      this.#history.push(...next.items);
      list.append(...next.items.map((item) => this.#row(item)));
      show(more, next.more);
    }) }, t("older"));
    show(more, this.#more);
    return h("div", {}, list, more);
  }

  #row(item) {
    const answer = h("ul", { class: "deliveries", hidden: true });
    const ask = h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => this.#run(async () => {
      if (!answer.hidden) {
        ask.setAttribute("aria-expanded", "false");
        return show(answer, false);
      }
      const devices = await this.#rest.get(`notifications/${item.id}/deliveries`);
      answer.replaceChildren(...devices.map((d) => h(
        "li",
        { class: d.acknowledged ? "good" : "wait" },
        h("code", {}, d.client_id),
        ` ${t(d.acknowledged ? "acknowledged" : "notAcknowledged")}`,
      )));
      if (devices.length === 0) answer.append(h("li", {}, t("noDevices")));
      ask.setAttribute("aria-expanded", "true");
      show(answer, true);
    }) }, t("deliveries"));
    return h(
      "li",
      {},
      h("span", { class: "seq" }, `#${item.seq}`),
      h("div", {}, h("strong", {}, item.title), h("p", {}, item.message), h(
        "p",
        { class: "hint" },
        h("time", { datetime: item.created_at, title: fullTime(new Date(item.created_at)) }, since(item.created_at)),
        ` · ${t(item.read_at ? "wasRead" : "notRead")} · `,
        ask,
      ), answer),
    );
  }

  #devices() {
    if (this.#connections.length === 0) return h("p", { class: "none" }, t("noConnections"));
    return connectionTable(this.#connections, ["client", "transport", "connectedFor"]);
  }

  #form() {
    const title = h("input", { id: "test-title", maxlength: "255", required: true });
    const message = h("textarea", { id: "test-message", rows: "2", maxlength: "4000", required: true });
    title.value = t("testTitle");
    message.value = t("testMessage");
    const form = h(
      "form",
      { class: "stack", onsubmit: (e) => {
        e.preventDefault();
        this.#run(() => this.#rest.send("POST", "notifications", {
          title: title.value, message: message.value, created_by: this.#user,
        }), (made) => t("sentAs", made.seq));
      } },
      h("label", { for: title.id }, t("title")), title,
      h("label", { for: message.id }, t("message")), message,
      h("button", { type: "submit", class: "primary" }, t("send")),
    );
    return form;
  }

  #actions() {
    const path = encodeURIComponent(this.#user);
    const button = (name, act) => h("button", { type: "button", class: "danger", onclick: () => this.#ask(name, act) }, t(name));
    return h(
      "div",
      { class: "row" },
      button("disconnect", () => this.#rest.send("DELETE", `admin/users/${path}/connections`)),
      button("revoke", () => this.#rest.send("POST", "admin/revocations", { user: this.#user })),
    );
  }

  /** Asks first: both interrupt somebody. */
  #ask(name, act) {
    const dialog = $("confirm");
    $("confirm-title").textContent = t(`${name}Title`, this.#user);
    $("confirm-text").textContent = t(`${name}Text`);
    $("confirm-yes").textContent = t(name);
    $("confirm-yes").onclick = () => {
      dialog.close();
      this.#run(act, () => t(`${name}Done`)).then(() => this.refresh());
    };
    $("confirm-no").onclick = () => dialog.close();
    dialog.showModal();
  }
}
