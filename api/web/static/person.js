// One user: their history and deliveries, their connections, and what an operator may
// do to them.

import { confirm } from "./confirm.js";
import { $, h, show } from "./dom.js";
import { connectionTable } from "./connections.js";
import { fullTime, since, t } from "./i18n.js";

const page = 20;

export class Person {
  #rest;
  #run;
  #user = null; // the one shown
  #openings = 0; // how many were asked for: only the last one is shown
  #history = [];
  #more = false;
  #connections = [];

  /** run(act, done, about) does something to a user and says how it went. */
  constructor(rest, run) {
    this.#rest = rest;
    this.#run = run;
    $("find").onsubmit = (e) => {
      e.preventDefault();
      if ($("who").value.trim()) this.open($("who").value.trim());
    };
    // The actions are for the user who is named: not for a former one, while another is typed.
    $("who").oninput = () => $("who").value.trim() !== this.#user && this.#close();
  }

  /** Shows a user. Whoever was shown before goes at once, also where this one cannot be read. */
  async open(user) {
    $("who").value = user;
    if (user !== this.#user) this.#close();
    const opening = ++this.#openings;
    await this.#run(async () => {
      const [first, live] = await Promise.all([
        this.#rest.list({ user, limit: page }),
        this.#rest.page("admin/connections", { user, limit: 50 }),
      ]);
      if (opening !== this.#openings) return; // another one was asked for meanwhile
      this.#user = user;
      this.#history = first.items;
      this.#more = first.more;
      this.#connections = live.items;
      this.draw();
      $("person-title").scrollIntoView({ block: "nearest" });
    }, null, t("user", user));
  }

  #close() {
    this.#openings++;
    this.#user = null;
    this.draw();
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
    const user = this.#user;
    if (user === null) return root.replaceChildren(h("p", { class: "none" }, t("personHint")));
    root.replaceChildren(
      h(
        "div",
        { class: "person" },
        h("div", {}, h("h3", {}, t("history", user)), this.#list(user)),
        h("div", {}, h("h3", {}, t("sendTest", user)), this.#form(user), h("h3", {}, t("actions", user)), this.#actions(user), h("h3", {}, t("devices", user)), this.#devices()),
      ),
    );
  }

  #list(user) {
    if (this.#history.length === 0) return h("p", { class: "none" }, t("noHistory"));
    const list = h("ol", { class: "history" }, this.#history.map((item) => this.#row(item)));
    const more = h("button", { type: "button", class: "quiet", onclick: () => this.#run(async () => {
      const next = await this.#rest.list({ user, limit: page, before: this.#history.at(-1).seq });
      this.#history.push(...next.items);
      list.append(...next.items.map((item) => this.#row(item)));
      show(more, next.more);
    }, null, t("user", user)) }, t("older"));
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
        h("code", { dir: "auto" }, d.client_id),
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
      h("div", {}, h("strong", { dir: "auto" }, item.title), h("p", { dir: "auto" }, item.message), h(
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

  #form(user) {
    const title = h("input", { id: "test-title", dir: "auto", maxlength: "255", required: true });
    const message = h("textarea", { id: "test-message", dir: "auto", rows: "2", maxlength: "4000", required: true });
    title.value = t("testTitle");
    message.value = t("testMessage");
    return h(
      "form",
      { class: "stack", onsubmit: (e) => {
        e.preventDefault();
        this.#run(
          () => this.#rest.send("POST", "notifications", { title: title.value, message: message.value, created_by: user }),
          (made) => t("sentAs", user, made.seq),
          t("user", user),
        );
      } },
      h("label", { for: title.id }, t("title")), title,
      h("label", { for: message.id }, t("message")), message,
      h("button", { type: "submit", class: "primary" }, t("send", user)),
    );
  }

  #actions(user) {
    const button = (name, act) => h("button", { type: "button", class: "danger", onclick: () => this.#ask(user, name, act) }, t(name, user));
    return h(
      "div",
      { class: "row" },
      button("disconnect", () => this.#rest.send("DELETE", `admin/users/${encodeURIComponent(user)}/connections`)),
      button("revoke", () => this.#rest.send("POST", "admin/revocations", { user })),
    );
  }

  /** Asks first: both interrupt somebody. */
  async #ask(user, name, act) {
    if (!(await confirm({ title: t(`${name}Title`, user), text: t(`${name}Text`), yes: t(name, user) }))) return;
    await this.#run(act, () => t(`${name}Done`, user), t("user", user));
    if (this.#user === user) await this.open(user);
  }
}
