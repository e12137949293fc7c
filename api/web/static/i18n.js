// The words of the page, in Spanish and English.

import { en } from "./text-en.js";
import { es } from "./text-es.js";

const key = "falconbridge.language";
const texts = { en, es };

function chosen() {
  try {
    const stored = sessionStorage.getItem(key);
    if (stored in texts) return stored;
  } catch {
    // Storage is switched off: the browser's language decides.
  }
  for (const wanted of navigator.languages ?? [navigator.language]) {
    const short = wanted.slice(0, 2).toLowerCase();
    if (short in texts) return short;
  }
  return "en";
}

let now = chosen();

/** The text of that name; where it depends on figures or names, made with them. */
export function t(name, ...values) {
  const text = texts[now][name];
  return typeof text === "function" ? text(...values) : text;
}

/** Writes the page's words, and lets its language buttons switch them. */
export function startLanguages() {
  for (const button of document.querySelectorAll("[data-speak]")) {
    button.addEventListener("click", () => speak(button.dataset.speak));
  }
  translate();
}

/** Switches the language and tells whoever listens to the document. */
function speak(wanted) {
  now = wanted;
  try {
    sessionStorage.setItem(key, wanted);
  } catch {
    // See chosen.
  }
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

const startOf = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

/** A key that is the same for all moments of one local day. */
export const dayOf = (date) => startOf(date).getTime();

/** "Today", "Yesterday", or the date in words. */
export function dayName(date, today = new Date()) {
  const days = Math.round((startOf(date) - startOf(today)) / 86_400_000);
  if (days === 0 || days === -1) {
    return capital(new Intl.RelativeTimeFormat(now, { numeric: "auto" }).format(days, "day"));
  }
  const year = date.getFullYear() === today.getFullYear() ? undefined : "numeric";
  return capital(new Intl.DateTimeFormat(now, { weekday: "long", day: "numeric", month: "long", year }).format(date));
}

const capital = (text) => text.charAt(0).toLocaleUpperCase(now) + text.slice(1);

export const timeOfDay = (date) => new Intl.DateTimeFormat(now, { hour: "numeric", minute: "2-digit" }).format(date);

export const fullTime = (date) => new Intl.DateTimeFormat(now, { dateStyle: "full", timeStyle: "medium" }).format(date);

const spans = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

/** How long ago, in short: "3 min. ago". */
export function since(moment) {
  const seconds = Math.max(0, (Date.now() - new Date(moment)) / 1000);
  const [unit, length] = spans.find(([, n]) => seconds >= n) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(now, { numeric: "auto", style: "short" }).format(-Math.floor(seconds / length), unit);
}

/** How long until then, in short: "in 3 days". */
export function until(moment) {
  const seconds = Math.max(0, (new Date(moment) - Date.now()) / 1000);
  const [unit, length] = spans.find(([, n]) => seconds >= n) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(now, { numeric: "auto", style: "short" }).format(Math.floor(seconds / length), unit);
}

export const number = (n) => new Intl.NumberFormat(now).format(n);
