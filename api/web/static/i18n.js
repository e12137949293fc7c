// The texts of the page, in Spanish and English.

import { load, save } from "./storage.js";
import { en } from "./text-en.js";
import { es } from "./text-es.js";

const key = "falconbridge.language";
const texts = { en, es };

function chosen() {
  const stored = load(key);
  if (stored in texts) return stored;
  for (const wanted of navigator.languages ?? [navigator.language]) {
    const short = wanted.slice(0, 2).toLowerCase();
    if (short in texts) return short;
  }
  return "en";
}

let now = chosen();

/** The text of that name, with the values in it. */
export function t(name, ...values) {
  const text = texts[now][name];
  return typeof text === "function" ? text(...values) : text;
}

/** Writes the page's texts, and lets its language buttons switch them. */
export function startLanguages() {
  for (const button of document.querySelectorAll("[data-speak]")) {
    button.addEventListener("click", () => speak(button.dataset.speak));
  }
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
