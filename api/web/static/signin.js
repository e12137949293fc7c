// The sign-in of both pages: a field to paste a token, and what was wrong with the last
// one.

import { confirm } from "./confirm.js";
import { $, setText, show } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";
import * as tokens from "./token.js";

let fault = null; // the name of the text that explains what is wrong

/** Shows the form, with the reason if there is one. */
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

/** The name of a text about an evident fault of a token; null if there is none. */
export function flawOf(token) {
  const claims = tokens.read(token);
  if (!claims) return "tokenMalformed";
  return claims.expires <= Date.now() ? "tokenExpired" : null;
}

/**
* Calls open with each token: from the URL, from this tab's storage, or
* pasted. Without a token, shows the form.
 */
export function signIn(open) {
  $("form").addEventListener("submit", (e) => {
    e.preventDefault();
    const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
    if (!token) return askForToken("tokenEmpty");
    $("token").value = "";
    open(token);
    if (!$("welcome").hidden) return;
    // Focus alone would scroll main to the top, under the sticky header.
    $("main").focus({ preventScroll: true });
    scrollTo(0, 0);
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

let newest = null; // of several links, only the last one counts

/**
* Opens a link's token. A signed-in user has to confirm before another user is signed in,
* because anyone can send a link with a token of their own, with which the reader would then
* act. A link with an invalid token changes nothing for a signed-in user.
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

/** Removes the token and shows the form. */
export function signOut(why = null) {
  tokens.store(null);
  askForToken(why);
  $("token").focus();
}
