// The inbox page: welcome or inbox, and what the user does there.

import { confirm } from "./confirm.js";
import { $, setText, show } from "./dom.js";
import { number, startLanguages, t } from "./i18n.js";
import { Inbox } from "./inbox.js";
import { List } from "./list.js";
import { Rest } from "./rest.js";
import { drawSignIn, flawOf, signIn, signOut } from "./signin.js";
import { announce, tellFailure, toast } from "./toast.js";
import * as tokens from "./token.js";

const topic = document.querySelector('meta[name="falcon-topic"]').content;
let inbox = null;
let user = "";
let fresh = new Set();

const list = new List($("days"), {
  read: (seq) => run(() => inbox.read(seq)),
  remove: async (seq) => {
    const what = inbox.items.get(seq)?.title ?? "";
    if (!(await confirm({ title: t("removeTitle"), what, text: t("removeText"), yes: t("remove") }))) return;
    const next = list.neighbour(seq);
    await run(() => inbox.remove(seq), t("removed"));
    (next?.isConnected ? next : $("main")).focus();
  },
});

/** Does what the user asked for; says so, or why not. */
async function run(act, done) {
  try {
    await act();
    if (done) announce(done);
  } catch (error) {
    if (error.status === undefined) throw error;
    tellFailure(error);
  }
}

/** Opens the inbox of a token, or says what is wrong with it. */
function open(token) {
  close();
  const flaw = flawOf(token);
  if (flaw) return leave(flaw);
  tokens.store(token);
  user = tokens.read(token).user;
  inbox = new Inbox({ token, user, topic, rest: new Rest(token) });
  inbox.addEventListener("change", draw);
  inbox.addEventListener("arrival", (e) => arrival(e.detail.items));
  inbox.addEventListener("ended", () => leave(flawOf(token) ?? "tokenRefused"));
  inbox.start();
  draw();
}

function close() {
  inbox?.close();
  inbox = null;
  list.clear();
}

function leave(why = null) {
  close();
  signOut(why);
  draw();
}

function arrival(items) {
  fresh = new Set(items.map((item) => item.seq));
  draw();
  fresh = new Set();
  const newest = items.at(-1);
  const act = () => list.focusUnread();
  if (items.length === 1) toast(newest.title, newest.message, { act });
  else toast(t("arrivedMany", items.length), newest.title, { act });
}

function draw() {
  drawSignIn(!inbox);
  show($("inbox"), Boolean(inbox));
  show($("connection"), Boolean(inbox));
  show($("bell"), Boolean(inbox));
  show($("who"), Boolean(inbox));
  const unread = inbox && !inbox.muted ? inbox.unread : 0;
  document.title = (unread > 0 ? `(${number(unread)}) ` : "") + (inbox ? `${t("inbox")} · falconbridge` : `falconbridge · ${t("tagline")}`);
  const wanted = unread > 0 ? "assets/icon-unread.svg" : "assets/icon.svg";
  if ($("favicon").getAttribute("href") !== wanted) $("favicon").setAttribute("href", wanted);
  if (inbox) drawInbox(unread);
}

function drawInbox(unread) {
  const { loaded, muted, state, more } = inbox;
  const items = inbox.sorted();
  $("connection").dataset.state = state;
  setText($("state"), t(state));
  setText($("badge"), unread > 0 ? number(unread) : "");
  $("bell").setAttribute("aria-label", t("bell", unread));
  $("bell-icon").setAttribute("href", muted ? "#i-bell-off" : "#i-bell");
  setText($("summary"), loaded && !muted ? t("unread", unread) : "");
  setText($("user"), t("user", user));
  $("mute").setAttribute("aria-checked", String(muted === true));
  $("mute").disabled = muted === null;
  $("mark-all").disabled = unread === 0;
  list.draw(items, fresh);
  show($("loading"), !loaded && state !== "away" && state !== "offline");
  show($("empty"), loaded && !muted && items.length === 0 && !more);
  show($("older"), loaded && more);
  drawNotice(muted, state);
}

/** The one thing the user should know about the whole inbox now. */
function drawNotice(muted, state) {
  const trouble = ["away", "offline", "polling"].includes(state);
  const notice = $("notice");
  show(notice, trouble || muted === true);
  notice.dataset.kind = state === "polling" || !trouble ? "calm" : "trouble";
  setText($("notice-title"), trouble ? t(`${state}Title`) : t("mutedTitle"));
  setText($("notice-text"), trouble ? t(`${state}Text`) : t("mutedText"));
  setText($("notice-act"), trouble ? t("retry") : t("unmute"));
  $("notice-act").onclick = () => (trouble ? inbox.hurry() : run(() => inbox.mute(false)));
}

$("bell").addEventListener("click", () => list.focusUnread());
$("mark-all").addEventListener("click", () => run(() => inbox.readAll(), t("markedAll")));
$("mute").addEventListener("click", () => run(() => inbox.mute(!inbox.muted)));
$("older").addEventListener("click", () => run(async () => announce(t("olderLoaded", await inbox.older()))));
$("sign-out").addEventListener("click", () => leave());
document.addEventListener("language", () => {
  list.clear(); // times and words inside are in the other language
  draw();
});

addEventListener("online", () => inbox?.hurry());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && inbox?.hurry());

startLanguages();
signIn(open);
draw();
document.documentElement.dataset.ready = "";
