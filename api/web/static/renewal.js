// Asks for another token of the same user, in a dialog over the list.

import { $, setText, show } from "./dom.js";
import { t } from "./i18n.js";
import { flawOf } from "./signin.js";
import * as tokens from "./token.js";

let accept = () => {};
let whose = "";

/** Asks for a token of that user and calls taken with it. */
export function askForAnother(user, taken) {
  whose = user;
  accept = taken;
  setText($("renewal-text"), t("renewalText", user));
  show($("renewal-fault"), false);
  $("renewal-token").value = "";
  $("renewal").showModal();
  $("renewal-token").focus();
}

export const stopAsking = () => $("renewal").close();

/** What is wrong with a token; null if nothing is evident. */
function faultOf(token) {
  if (!token) return t("tokenEmpty");
  const flaw = flawOf(token);
  if (flaw) return t(flaw);
  const { user } = tokens.read(token);
  return user === whose ? null : t("renewalOther", user, whose);
}

$("renewal-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const token = $("renewal-token").value.trim().replace(/^Bearer\s+/i, "");
  const fault = faultOf(token);
  setText($("renewal-fault"), fault ?? "");
  show($("renewal-fault"), fault !== null);
  if (fault !== null) return $("renewal-token").focus();
  $("renewal-token").value = "";
  stopAsking();
  accept(token);
});
$("renewal-token").addEventListener("keydown", (e) => {
  if (e.key !== "Enter" || e.shiftKey) return;
  e.preventDefault();
  $("renewal-form").requestSubmit();
});
$("renewal-no").addEventListener("click", stopAsking);
