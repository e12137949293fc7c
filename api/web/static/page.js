// The inbox page: the welcome or the inbox. Data and appearance of the inbox are the
// client's, which applications embed as well. The page adds the sign-in, and announces
// notifications that are not visible.

import { connect } from "../client/index.js";
import { InboxView } from "../client/view.js";
import { badge } from "../client/words.js";
import { alertOf, drawAlerts, drawPush } from "./alerts.js";
import { $, setText, show } from "./dom.js";
import { startLanguages, t } from "./i18n.js";
import { askForAnother, stopAsking } from "./renewal.js";
import { drawSignIn, flawOf, signIn, signOut } from "./signin.js";
import { announce, showFailure, toast } from "./toast.js";
import * as tokens from "./token.js";

const [topicPrefix] = document.querySelector('meta[name="falcon-topic"]').content.split("users/{user}");
const base = document.querySelector('meta[name="falcon-base"]').content || document.baseURI;
const offersPush = document.querySelector('meta[name="falcon-push"]').content === "true";
const language = () => document.documentElement.lang;

let inbox = null;
let view = null;
let user = "";
let scopes = [];
let used = ""; // the token that the inbox uses

/** Opens the inbox of a token, continues with a newer one of the same user, or explains what is wrong with it. */
function open(token) {
  const flaw = flawOf(token);
  if (flaw) return leave(flaw);
  const claims = tokens.read(token);
  tokens.store(token);
  scopes = claims.scopes;
  if (inbox && claims.user === user) {
    stopAsking();
    if (token !== used) inbox.renew().catch(showFailure);
    used = token;
    return draw();
  }
  close();
  user = claims.user;
  used = token;
  const made = connect({ url: new URL(".", document.baseURI).href, getToken: tokens.stored, topicPrefix, clientName: "page-", push: offersPush });
  inbox = made;
  view = new InboxView($("inbox"), made, { lang: language(), heading: 1, base, renew: () => askForAnother(user, open) });
  made.on("notification", arrived);
  made.on("change", draw);
  made.on("opened", (id) => {
    const item = made.list().find((each) => each.id === id);
    if (!item || !view?.focus(item.seq)) view?.focusUnread();
  });
  made.on("state", (state) => {
    // A token that never opened an inbox leads back to the form. If it did, its list stays.
    if (state === "ended" && inbox === made && !made.loaded) leave(flawOf(token) ?? "tokenRefused");
  });
  draw();
}

function close() {
  const closing = inbox;
  inbox = null;
  view?.close();
  view = null;
  closing?.close();
  stopAsking();
}

function leave(why = null) {
  close();
  signOut(why);
  draw();
}

let arrivals = [];

/** Collects the notifications of one response, to announce them together. */
function arrived(item) {
  if (arrivals.push(item) === 1) queueMicrotask(() => announceAll(arrivals.splice(0)));
}

function announceAll(items) {
  if (!view) return;
  const newest = items.at(-1);
  const here = view;
  const look = (item) => here.focus(item.seq) || here.focusUnread();
  alertOf(items, look);
  const unseen = items.filter((item) => !here.shows(item.seq));
  if (unseen.length === 0) announce(`${t("arrivedOne")}: ${newest.title}`);
  else if (unseen.length === 1) toast(unseen[0].title, unseen[0].message, { act: () => look(unseen[0]) });
  else toast(t("arrivedMany", unseen.length), newest.title, { act: () => look(newest) });
}

/** Whether the user has one of the scopes that a page needs. */
const may = (...wanted) => scopes.includes("admin") || wanted.some((scope) => scopes.includes(scope));

function draw() {
  drawSignIn(!inbox);
  for (const id of ["inbox", "connection", "alerts-open", "bell", "who"]) show($(id), Boolean(inbox));
  show($("console"), !inbox || may());
  show($("docs"), !inbox || may("notifications:read", "notifications:write", "reports:write"));
  const unread = inbox?.unread ?? 0;
  document.title = (unread > 0 ? `(${badge(unread)}) ` : "") + (inbox ? `${t("inbox")} · falconbridge` : `falconbridge · ${t("tagline")}`);
  const wanted = unread > 0 ? "assets/icon-unread.svg" : "assets/icon.svg";
  if ($("favicon").getAttribute("href") !== wanted) $("favicon").setAttribute("href", wanted);
  drawPush(inbox?.push ?? null);
  if (!inbox) return;
  const state = inbox.state === "away" && !navigator.onLine ? "offline" : inbox.state;
  $("connection").dataset.state = state;
  setText($("state"), t(state));
  setText($("badge"), badge(unread));
  $("bell").setAttribute("aria-label", t("bell", unread));
  $("bell-icon").setAttribute("href", inbox.muted ? "#i-bell-off" : "#i-bell");
  setText($("user"), t("user", user));
}

$("bell").addEventListener("click", () => view?.focusUnread());
$("sign-out").addEventListener("click", () => {
  inbox?.push?.disable().catch(() => {}); // the next user of this browser must not see this user's pushes
  leave();
});
document.addEventListener("language", () => {
  if (view) view.lang = language();
  drawAlerts();
  draw();
});
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && void inbox?.refresh());

startLanguages();
drawAlerts();
signIn(open);
draw();
document.documentElement.dataset.ready = "";
