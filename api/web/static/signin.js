// What both pages show to who has no token: a field to paste one, and why the last
// one does not do.

import { confirm } from "./confirm.js";
import { $, setText, show } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";
import * as tokens from "./token.js";

let fault = null; // name of the text that says what is wrong

/** Shows the form, with the reason where there is one. */
export function askForToken(why = null) {
  fault = why;
  drawSignIn(true);
  if (why) $("token").focus();
}

export function drawSignIn(visible) {
  show($("welcome"), visible);
  show($("fault"), Boolean(fault));
  setText($("fault"), fault ? t(fault) : "");
  $("token").toggleAttribute("aria-invalid", Boolean(fault));
}

/** Why a token is no good, as far as its bearer can see; null where it may be good. */
export function flawOf(token) {
  const claims = tokens.read(token);
  if (!claims) return "tokenMalformed";
  return claims.expires <= Date.now() ? "tokenExpired" : null;
}

/**
 * Calls open with each token that comes: with the address, from this tab's store, by
 * hand. Without any, shows the form.
 */
export function signIn(open) {
  $("form").addEventListener("submit", (e) => {
    e.preventDefault();
    const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
    if (!token) return askForToken("tokenEmpty");
    $("token").value = "";
    open(token);
    if ($("welcome").hidden) $("main").focus();
  });
  $("token").addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey) return;
    e.preventDefault();
    $("form").requestSubmit();
  });
  // A second deep link opened in the same tab.
  addEventListener("hashchange", () => followLink(tokens.takeFromAddress(), open));
  const linked = tokens.takeFromAddress();
  const kept = tokens.stored();
  if (kept) open(kept);
  if (linked) followLink(linked, open);
  else if (!kept) askForToken();
}

let newest = null; // of several links, the last one counts

/**
 * Opens a link's token. Whoever is signed in is asked before another user takes over:
 * anybody can send a link with a token of their own, in which the reader would then
 * act. A link whose token is no good changes nothing for them.
 */
async function followLink(token, open) {
  if (!token) return;
  newest = token;
  const kept = tokens.stored();
  const now = kept && flawOf(kept) === null ? tokens.read(kept).user : null;
  if (now === null) return open(token);
  const flaw = flawOf(token);
  if (flaw) return toast(t(flaw), t("stillUser", now), { kind: "fault" });
  const { user } = tokens.read(token);
  if (user !== now && !(await confirm({ title: t("switchTitle", user), text: t("switchText", now), yes: t("switchYes", user) }))) return;
  if (newest === token) open(token);
}

/** Forgets the token and shows the form. */
export function signOut(why = null) {
  tokens.store(null);
  askForToken(why);
  $("token").focus();
}
