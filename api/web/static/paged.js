// A list of the console that is read page by page, the newest first.

import { $, h } from "./dom.js";
import { t } from "./i18n.js";

/** A subclass draws this.list, and ends with this.older(root, name). */
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

  /** Appends the button that reads on, where more follows. */
  older(root, name) {
    if (this.#next) root.append(h("button", { type: "button", class: "quiet", onclick: () => this.run(() => this.#read(this.#next, this.list)) }, t(name)));
  }
}
