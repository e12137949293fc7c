// Alerts beyond the page: a browser notification while the page is not visible or focused,
// and a sound. The browser asks its user for permission when the switch is pressed,
// never before. A permission granted earlier is used until the switch is turned off.

import { $, setText, show } from "./dom.js";
import { t } from "./i18n.js";
import { load, save } from "./storage.js";
import { toast } from "./toast.js";

const keys = { browser: "falconbridge.alerts.browser", sound: "falconbridge.alerts.sound" };

function choose(key, on) {
  save(key, on ? "on" : "off");
  drawAlerts();
}

/** "unsupported" if the browser has no notifications for this page, else the permission. */
const permission = () => globalThis.Notification?.permission ?? "unsupported";
const browserOn = () => permission() === "granted" && load(keys.browser) !== "off";
const soundOn = () => load(keys.sound) === "on";

export function drawAlerts() {
  const given = permission();
  $("alerts-browser").setAttribute("aria-checked", String(browserOn()));
  $("alerts-browser").disabled = given === "unsupported" || given === "denied";
  setText($("alerts-browser-hint"), t({ unsupported: "alertsUnsupported", denied: "alertsDenied" }[given] ?? "alertsBrowserHint"));
  $("alerts-sound").setAttribute("aria-checked", String(soundOn()));
}

let push = null; // of the open inbox, if the server has Web Push

/** Draws the switch for pushes to this browser, if they are supported. */
export function drawPush(now) {
  push = now;
  const state = push?.state ?? "unsupported";
  for (const id of ["alerts-push", "alerts-push-hint"]) show($(id), state !== "unsupported");
  $("alerts-push").setAttribute("aria-checked", String(state === "on"));
  $("alerts-push").disabled = state === "denied";
  setText($("alerts-push-hint"), t(state === "denied" ? "alertsDenied" : "alertsPushHint"));
}

/** Alerts the user to new notifications, the newest last. A click on one calls open(item). */
export function alertOf(items, open) {
  if (soundOn()) chime();
  if (!browserOn() || (document.visibilityState === "visible" && document.hasFocus())) return;
  for (const item of items.slice(-3)) {
    let shown;
    try {
      // Tabs with the same inbox replace each other's notifications.
      shown = new Notification(item.title, { body: item.message, tag: `falconbridge-${item.id}`, lang: document.documentElement.lang });
    } catch {
      return; // Chromium on Android allows only those of service workers
    }
    shown.addEventListener("click", () => {
      shown.close();
      focus();
      open(item);
    });
  }
}

let audio;

/** Plays two short notes. Browsers mute a page until the user has interacted with it. */
function chime() {
  audio ??= new AudioContext();
  audio.resume();
  for (const [pitch, after] of [[660, 0], [880, 0.12]]) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    const begin = audio.currentTime + after;
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, begin);
    volume.gain.exponentialRampToValueAtTime(0.12, begin + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, begin + 0.35);
    tone.connect(volume).connect(audio.destination);
    tone.start(begin);
    tone.stop(begin + 0.4);
  }
}

$("alerts-browser").addEventListener("click", async () => {
  if (browserOn()) return choose(keys.browser, false);
  const given = permission() === "default" ? await Notification.requestPermission() : permission();
  if (given === "granted") choose(keys.browser, true);
  else toast(t("alertsRefused"), "", { kind: "fault" });
  drawAlerts();
});
$("alerts-push").addEventListener("click", async () => {
  try {
    await (push.state === "on" ? push.disable() : push.enable());
  } catch (error) {
    toast(t("alertsPushFailed"), error.message, { kind: "fault" });
  }
  drawPush(push);
  drawAlerts();
});
$("alerts-sound").addEventListener("click", () => {
  choose(keys.sound, !soundOn());
  if (soundOn()) chime();
});
$("alerts").addEventListener("beforetoggle", drawAlerts);
