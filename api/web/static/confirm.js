// The confirmation dialog of a page, for actions that interrupt someone or cannot be undone.

import { $, setText, show } from "./dom.js";

let settle = null; // resolves the open question

/**
* Asks, and resolves to true if the user confirmed. title and text are the page's own
* words; what, if given, is text by users or to them. A
* question that is replaced by another one resolves to false. If typed is given,
* the user has to type it to confirm.
 */
export function confirm({ title, what = "", text, yes, typed = "" }) {
  const dialog = $("confirm");
  settle?.(false);
  setText($("confirm-title"), title);
  setText($("confirm-what"), what);
  show($("confirm-what"), what !== "");
  setText($("confirm-text"), text);
  setText($("confirm-yes"), yes);
  $("confirm-yes").disabled = typed !== "";
  const field = $("confirm-typed"); // only if something has to be typed
  if (field) {
    show(field.parentElement, typed !== "");
    field.value = "";
    field.oninput = () => ($("confirm-yes").disabled = field.value.trim() !== typed);
  }
  return new Promise((done) => {
    settle = (agreed) => {
      settle = null;
      dialog.close(); // restores the focus before the caller continues
      done(agreed);
    };
    $("confirm-yes").onclick = () => settle?.(true);
    $("confirm-no").onclick = () => settle?.(false);
    dialog.oncancel = () => settle?.(false); // Escape
    dialog.showModal();
  });
}
