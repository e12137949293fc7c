// What both pages show to who has no token: a field to paste one, and why the last
// one does not do.

import { $, setText, show } from "./dom.js";
import { t } from "./i18n.js";
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
  addEventListener("hashchange", () => {
    const token = tokens.takeFromAddress();
    if (token) open(token);
  });
  const token = tokens.takeFromAddress() ?? tokens.stored();
  if (token) open(token);
  else askForToken();
}

/** Forgets the token and shows the form. */
export function signOut(why = null) {
  tokens.store(null);
  askForToken(why);
  $("token").focus();
}
