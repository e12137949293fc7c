// The one dialog of a page, for what interrupts somebody or cannot be undone.

import { $, setText, show } from "./dom.js";

let settle = null; // answers the question that is open

/**
 * Asks, and resolves to whether the answer was yes. title and text are the page's own
 * words; what, where given, is what users wrote, or what will be sent to them. A
 * question that another one replaces counts as answered with no. Where typed is given,
 * it has to be typed before the answer can be yes.
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
  const field = $("confirm-typed"); // only where the page asks for something typed
  if (field) {
    show(field.parentElement, typed !== "");
    field.value = "";
    field.oninput = () => ($("confirm-yes").disabled = field.value.trim() !== typed);
  }
  return new Promise((done) => {
    settle = (agreed) => {
      settle = null;
      dialog.close(); // gives the focus back, before whoever asked goes on
      done(agreed);
    };
    $("confirm-yes").onclick = () => settle?.(true);
    $("confirm-no").onclick = () => settle?.(false);
    dialog.oncancel = () => settle?.(false); // Escape
    dialog.showModal();
  });
}
