// The one dialog of a page, for what interrupts somebody or cannot be undone.

import { $, setText, show } from "./dom.js";

/**
 * Asks, and resolves to whether the answer was yes. title and text are the page's own
 * words; what, where given, is what users wrote, or what will be sent to them.
 */
export function confirm({ title, what = "", text, yes }) {
  const dialog = $("confirm");
  setText($("confirm-title"), title);
  setText($("confirm-what"), what);
  show($("confirm-what"), what !== "");
  setText($("confirm-text"), text);
  setText($("confirm-yes"), yes);
  dialog.returnValue = "";
  $("confirm-yes").onclick = () => dialog.close("yes");
  $("confirm-no").onclick = () => dialog.close("");
  dialog.showModal();
  return new Promise((done) => {
    const closed = () => {
      if (dialog.open) return; // the event comes late: it belongs to the question before this one
      dialog.removeEventListener("close", closed);
      done(dialog.returnValue === "yes");
    };
    dialog.addEventListener("close", closed);
  });
}
