// The texts of the page, in each of its languages.

import { $, h } from "./dom.js";
import { load, save } from "./storage.js";
import { en } from "./text-en.js";
import { es } from "./text-es.js";

// The languages in the order of their buttons. One more is a file and a line here; a Go test
// checks that the page has every language of the server.
const languages = {
  es: { name: "Español", texts: es },
  en: { name: "English", texts: en },
};

const key = "falconbridge.language";

function chosen() {
  const stored = load(key);
  if (Object.hasOwn(languages, stored)) return stored;
  for (const wanted of navigator.languages ?? [navigator.language]) {
    const short = wanted.slice(0, 2).toLowerCase();
    if (Object.hasOwn(languages, short)) return short;
  }
  return "en";
}

let now = chosen();

/** The text of that name, with the values in it. */
export function t(name, ...values) {
  const text = languages[now].texts[name];
  return typeof text === "function" ? text(...values) : text;
}

/** Writes the page's texts, and draws the buttons that switch their language. */
export function startLanguages() {
  $("languages").replaceChildren(...Object.entries(languages).map(([code, { name }]) =>
    h("button", { class: "link", type: "button", lang: code, "data-speak": code, onclick: () => speak(code) }, name)));
  translate();
}

/** Switches the language and dispatches a "language" event. */
function speak(wanted) {
  now = wanted;
  save(key, wanted);
  translate();
  document.dispatchEvent(new Event("language"));
}

// Writes the texts of elements that carry data-t, and labels of those that carry data-label.
function translate() {
  document.documentElement.lang = now;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
  for (const button of document.querySelectorAll("[data-speak]")) {
    button.setAttribute("aria-pressed", String(button.dataset.speak === now));
  }
}

export const timeOfDay = (date) => new Intl.DateTimeFormat(now, { hour: "numeric", minute: "2-digit" }).format(date);

export const precise = (date) => new Intl.DateTimeFormat(now, { timeStyle: "medium" }).format(date);

export const fullTime = (date) => new Intl.DateTimeFormat(now, { dateStyle: "full", timeStyle: "medium" }).format(date);

const spans = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

const inWords = (seconds, sign) => {
  const [unit, length] = spans.find(([, n]) => seconds >= n) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(now, { numeric: "auto", style: "short" }).format(sign * Math.floor(seconds / length), unit);
};

/** How long ago, in short: "3 min. ago". */
export const since = (moment) => inWords(Math.max(0, (Date.now() - new Date(moment)) / 1000), -1);

/** How long until then, in short: "in 3 days". */
export const until = (moment) => inWords(Math.max(0, (new Date(moment) - Date.now()) / 1000), 1);

export const number = (n) => new Intl.NumberFormat(now).format(n);
