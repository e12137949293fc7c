// One user: whether they are muted, their history with explanations, their devices,
// and the actions of an operator.

import { confirm } from "./confirm.js";
import { DeviceActions, deviceState, devicesOf, lag } from "./connections.js";
import { $, h, show } from "./dom.js";
import { explainable } from "./explain.js";
import { fullTime, since, t } from "./i18n.js";

const page = 20;

export class Person {
  #rest;
  #run;
  #own;
  #done;
  #actions;
  #user = null; // the shown user
  #openings = 0; // counts the calls of show, because only the last user is shown
  #history = [];
  #next = null; // the query of the next page
  #devices = [];
  #settings = null;

  /**
   * run(act, done, about) does something to a user and says how it went; own(clientId)
   * reports this page's own connection; done() runs after what the audit log records.
   */
  constructor(rest, run, own, done) {
    this.#rest = rest;
    this.#run = run;
    this.#own = own;
    this.#done = done;
    this.#actions = new DeviceActions(rest, run);
    $("find").onsubmit = (e) => {
      e.preventDefault();
      if ($("who").value.trim()) this.open($("who").value.trim());
    };
    // The actions are for the named user, not for the previous one while another is typed.
    $("who").oninput = () => $("who").value.trim() !== this.#user && this.#close();
  }

  /** Shows a user. The previous one disappears at once, even if this one cannot be read. */
  async open(user) {
    $("who").value = user;
    if (user !== this.#user) this.#close();
    const opening = ++this.#openings;
    await this.#run(async () => {
      const [first, devices, settings] = await Promise.all([
        this.#rest.page(`users/${encodeURIComponent(user)}/notifications`, { limit: page, muted: "include" }),
        devicesOf(this.#rest, user, this.#own),
        this.#rest.get(`users/${encodeURIComponent(user)}/settings`),
      ]);
      if (opening !== this.#openings) return; // another user was opened meanwhile
      this.#user = user;
      this.#history = first.items;
      this.#next = first.next;
      this.#devices = devices;
      this.#settings = settings;
      this.draw();
      $("person-title").scrollIntoView({ block: "nearest" });
    }, null, t("user", user));
  }

  #close() {
    this.#openings++;
    this.#user = null;
    this.draw();
  }

  /** Refreshes the connections and the mute of the user. */
  async refresh() {
    const user = this.#user;
    if (user === null) return;
    const [devices, settings] = await Promise.all([devicesOf(this.#rest, user, this.#own), this.#rest.get(`users/${encodeURIComponent(user)}/settings`)]);
    if (user !== this.#user) return;
    this.#devices = devices;
    this.#settings = settings;
    this.#drawLive();
  }

  /** Adds a live notification of this user. */
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
      h("div", { id: "muted" }),
      h(
        "div",
        { class: "person" },
        h("div", {}, h("h3", {}, t("history", user)), this.#list(user)),
        h("div", {}, h("h3", {}, t("devices", user)), h("div", { id: "devices" }), h("h3", {}, t("sendTest", user)), this.#form(user), h("h3", {}, t("actions", user)), this.#act(user)),
      ),
    );
    this.#drawLive();
  }

  #drawLive() {
    const { is_review_enabled: on, kinds } = this.#settings;
    const quiet = Object.keys(kinds).filter((k) => kinds[k] === 0);
    const said = !on ? t("isMuted", this.#user) : quiet.length ? t("mutesKinds", this.#user, quiet.join(", ")) : "";
    $("muted").replaceChildren(...(said ? [h("p", { class: "notice" }, said)] : []));
    const focused = $("devices").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    $("devices").replaceChildren(this.#deviceList());
    if (focused !== null) [...$("devices").querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
  }

  get #isMuted() {
    return !this.#settings.is_review_enabled;
  }

  #list(user) {
    if (this.#history.length === 0) return h("p", { class: "none" }, t("noHistory"));
    const list = h("ol", { class: "history" }, this.#history.map((item) => this.#row(item)));
    const more = h("button", { type: "button", class: "quiet", onclick: () => this.#run(async () => {
      const next = await this.#rest.page(`users/${encodeURIComponent(user)}/notifications`, this.#next);
      this.#history.push(...next.items);
      list.append(...next.items.map((item) => this.#row(item)));
      this.#next = next.next;
      show(more, next.next);
    }, null, t("user", user)) }, t("older"));
    show(more, this.#next);
    return h("div", {}, list, more);
  }

  #row(item) {
    const [ask, answer] = explainable(item.id, this.#rest, this.#run);
    return h(
      "li",
      {},
      h("span", { class: "seq" }, `#${item.seq}`),
      h("div", {}, h("strong", { dir: "auto" }, item.title), h("p", { dir: "auto" }, item.message), h(
        "p",
        { class: "hint" },
        h("time", { datetime: item.created_at, title: fullTime(new Date(item.created_at)) }, since(item.created_at)),
        ` · ${t(item.read_at ? "wasRead" : "notRead")} · id ${item.id} · `,
        ask,
      ), answer),
    );
  }

  #deviceList() {
    if (this.#devices.length === 0) return h("p", { class: "none" }, t("noUserDevices"));
    return h("ul", { class: "devices" }, this.#devices.map((d) => h(
      "li",
      { "data-state": d.connected ? "live" : "connecting" },
      h("span", { class: "dot", "aria-hidden": "true" }),
      h("div", {}, h("code", { dir: "auto" }, d.client_id), h("p", { class: "hint" }, deviceState(d), d.lag === null ? null : [" · ", lag(d)])),
      this.#actions.button({ ...d, user: this.#user }, async () => {
        this.#done();
        await this.#run(() => this.refresh());
      }),
    )));
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
          (made) => t(this.#user === user && this.#isMuted ? "storedMuted" : "sentAs", user, made.seq),
          t("user", user),
        );
      } },
      h("label", { for: title.id }, t("title")), title,
      h("label", { for: message.id }, t("message")), message,
      h("button", { type: "submit", class: "primary" }, t("send", user)),
    );
  }

  #act(user) {
    const button = (name, act, typed) => h("button", { type: "button", class: "danger", "data-act": name, onclick: () => this.#ask(user, name, act, typed) }, t(name, user));
    const path = `admin/users/${encodeURIComponent(user)}`;
    return h(
      "div",
      { class: "row" },
      button("disconnect", () => this.#rest.send("DELETE", `${path}/connections`)),
      button("revoke", () => this.#rest.send("POST", "admin/revocations", { user })),
      button("erase", () => this.#rest.finish("DELETE", path), user),
    );
  }

  /** Asks for confirmation, because each action interrupts someone. Actions that cannot be undone require typing the user's id. */
  async #ask(user, name, act, typed = "") {
    if (!(await confirm({ title: t(`${name}Title`, user), text: t(`${name}Text`, user), yes: t(name, user), typed }))) return;
    await this.#run(act, (finished) => t(finished === false ? `${name}Begun` : `${name}Done`, user), t("user", user));
    this.#done();
    if (this.#user === user) await this.open(user);
  }
}
