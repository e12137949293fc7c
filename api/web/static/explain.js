// What happened to one notification: at each device, push and webhook.

import { $, h, show } from "./dom.js";
import { fullTime, since, t } from "./i18n.js";

const at = (moment) => (moment ? [" · ", h("time", { datetime: moment, title: fullTime(new Date(moment)) }, since(moment))] : []);

/** The explanation e as a list. pick(user) opens a user. */
export function explanation(e, pick) {
  const line = (kind, name, state, rest) => h("li", { class: kind }, h("code", { dir: "auto" }, name), " ", state, ...rest);
  const call = (c, name) => line(c.state === "sent" ? "good" : "wait", name, t(`late_${c.state.replace(" ", "_")}`), [
    ` · ${t("tries", c.tries)}`, c.status ? ` · HTTP ${c.status}` : "", ...at(c.at)]);
  const group = (title, items) => (items.length === 0 ? [] : [h("p", { class: "sub" }, title), h("ul", { "aria-label": title }, items)]);
  return h(
    "div",
    { class: "explanation" },
    h("p", {}, t("explained", e.id, e.seq), " ", pick ? h("button", { type: "button", class: "link strong", onclick: () => pick(String(e.user)) }, String(e.user)) : String(e.user), " · ", h("code", {}, e.kind)),
    h("p", {}, h("strong", {}, t(`fate_${e.state.replace(" ", "_")}`)), " · ", t("storedBy", e.by || "–"), ...at(e.committed_at)),
    ...group(t("devicesTitle"), e.devices.map((d) => line(d.state === "acknowledged" ? "good" : "wait", d.client_id, t(`device_${d.state.replace(" ", "_")}`), [
      d.why ? ` (${t(`why_${d.why.replaceAll(" ", "_")}`) ?? d.why})` : "", ...at(d.at)]))),
    ...(e.devices.length === 0 ? [h("p", { class: "hint" }, t("noDevices"))] : []),
    ...group(t("pushes"), e.pushes.map((p) => call(p, p.client_id))),
    ...group(t("webhooks"), e.webhooks.map((w) => call(w, `${w.when} · ${w.id}`))),
  );
}

/** A button that shows and hides the explanation of a notification below it. */
export function explainable(id, rest, run) {
  const answer = h("div", { class: "deliveries", hidden: true });
  const ask = h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => run(async () => {
    if (!answer.hidden) {
      ask.setAttribute("aria-expanded", "false");
      return show(answer, false);
    }
    answer.replaceChildren(explanation(await rest.get(`admin/notifications/${id}/explain`)));
    ask.setAttribute("aria-expanded", "true");
    show(answer, true);
  }, null, t("notification", id)) }, t("explain"));
  return [ask, answer];
}

/** The panel that explains a notification by its id, even a deleted one. */
export class Explain {
  #rest;
  #run;
  #pick;
  #shown = null;

  constructor(rest, run, pick) {
    this.#rest = rest;
    this.#run = run;
    this.#pick = pick;
    $("explain-form").onsubmit = (e) => {
      e.preventDefault();
      const id = $("which").value.trim();
      if (id) this.open(id);
    };
    this.draw();
  }

  open(id) {
    $("which").value = id;
    this.#shown = null;
    this.draw();
    return this.#run(async () => {
      this.#shown = await this.#rest.get(`admin/notifications/${encodeURIComponent(id)}/explain`);
      this.draw();
      $("explain-title").scrollIntoView({ block: "nearest" });
    }, null, t("notification", id));
  }

  draw() {
    $("explanation").replaceChildren(this.#shown ? explanation(this.#shown, this.#pick) : h("p", { class: "none" }, t("explainHint")));
  }
}
