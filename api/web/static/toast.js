// Toasts: short messages that disappear after some seconds, also for screen readers.

import { $, h, icon } from "./dom.js";
import { t } from "./i18n.js";

const stay = 7_000; // ms; a pointer or the focus on the toast keeps it
const most = 3; // at once

/** Shows a toast. act, if given, runs on a click on its text. */
export function toast(title, text = "", { kind = "news", act } = {}) {
  const root = $("toasts");
  let timer;
  const close = () => {
    clearTimeout(timer);
    node.remove();
  };
  const words = [h("strong", { dir: "auto" }, title), text ? h("span", { dir: "auto" }, text) : null];
  const node = h(
    "div",
    { class: `toast ${kind}` },
    icon(kind === "fault" ? "cross" : "toast"), // of each page: the inbox announces, the console confirms
    act
      ? h("button", { type: "button", class: "words", onclick: () => (close(), act()) }, words)
      : h("div", { class: "words" }, words),
    h("button", { type: "button", class: "link bin", "aria-label": t("dismiss"), onclick: close }, icon("cross")),
  );
  const arm = () => {
    clearTimeout(timer);
    timer = setTimeout(close, stay);
  };
  for (const event of ["pointerenter", "focusin"]) node.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) node.addEventListener(event, arm);
  root.append(node);
  while (root.children.length > most) root.firstChild.remove();
  arm();
}

/** Announces a text to screen readers only. */
export function announce(text) {
  const node = $("announcer");
  node.textContent = "";
  requestAnimationFrame(() => (node.textContent = text)); // so that the same text is announced again
}

/** Shows why an action failed; about is its object. */
export function showFailure(error, about = "") {
  const fault = (title, detail = "") => toast(title, [about, detail].filter(Boolean).join(": "), { kind: "fault" });
  if (error.status === 429) fault(t("failedBusy", error.retryAfter || 1));
  else if (error.status === 0 || error.status === 503) fault(t("failedAway"));
  else fault(t("failed"), error.detail);
}
