// A list of the console that is loaded page by page, newest first.

import { $, h } from "./dom.js";
import { t } from "./i18n.js";

/** A subclass draws this.list and finally calls this.older(root, name). */
export class Paged {
  list = [];
  rest;
  run;
  #path;
  #next = null; // the query of the next page

  constructor(rest, run, path, again) {
    this.rest = rest;
    this.run = run;
    this.#path = path;
    $(again).onclick = () => this.refresh();
  }

  refresh() {
    return this.run(() => this.#read({ limit: 25 }, []));
  }

  async #read(query, before) {
    const page = await this.rest.page(this.#path, query);
    this.list = [...before, ...page.items];
    this.#next = page.next;
    this.draw();
  }

  /** Appends the button that loads the next page, if there is one. */
  older(root, name) {
    if (this.#next) root.append(h("button", { type: "button", class: "quiet", onclick: () => this.run(() => this.#read(this.#next, this.list)) }, t(name)));
  }
}
