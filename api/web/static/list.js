// The list of notifications, grouped by local day. Elements are kept from one
// drawing to the next, so that focus and scroll position stay where they are.

import { arrange, h, icon, setText, show } from "./dom.js";
import { dayName, dayOf, fullTime, t, timeOfDay } from "./i18n.js";

const statusIcons = { 1: "clock", 2: "check", 3: "cross" };

export class List {
  #root;
  #rows = new Map(); // seq → row
  #days = new Map(); // day → group
  #on;

  /** on.read(seq) and on.remove(seq) are asked for by the user. */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    root.addEventListener("keydown", (e) => this.#key(e));
  }

  /** Shows items, newest first. fresh holds the seqs that just arrived. */
  draw(items, fresh = new Set()) {
    const groups = new Map();
    for (const item of items) {
      const day = dayOf(new Date(item.created_at));
      if (!groups.has(day)) groups.set(day, []);
      groups.get(day).push(this.#row(item, fresh.has(item.seq)).node);
    }
    const there = new Set(items.map((item) => item.seq));
    for (const seq of this.#rows.keys()) if (!there.has(seq)) this.#rows.delete(seq);
    for (const day of this.#days.keys()) if (!groups.has(day)) this.#days.delete(day);
    arrange(this.#root, [...groups.keys()].sort((a, b) => b - a).map((day) => this.#day(day, groups.get(day))));
    this.#rove();
  }

  /** Forgets everything, for another language or user. */
  clear() {
    this.#rows.clear();
    this.#days.clear();
    this.#root.replaceChildren();
  }

  /** Moves focus to the newest unread, and reports whether there is one. */
  focusUnread() {
    const node = this.#root.querySelector(".item.unread");
    this.#focus(node);
    return node !== null;
  }

  /** Where focus goes when the focused item disappears: its neighbour. */
  neighbour(seq) {
    const all = this.#all();
    const at = all.indexOf(this.#rows.get(seq)?.node.firstChild);
    return all[at + 1] ?? all[at - 1] ?? null;
  }

  #day(day, rows) {
    let group = this.#days.get(day);
    if (!group) {
      const name = h("h2", { class: "day", id: `day-${day}` });
      const list = h("ul", { class: "items", "aria-labelledby": name.id });
      group = { node: h("section", {}, name, list), name, list };
      this.#days.set(day, group);
    }
    setText(group.name, dayName(new Date(day)));
    arrange(group.list, rows);
    return group.node;
  }

  #row(item, fresh) {
    let row = this.#rows.get(item.seq);
    if (!row) {
      row = this.#build(item);
      if (fresh) row.node.firstChild.classList.add("fresh");
      this.#rows.set(item.seq, row);
    }
    const unread = !item.read_at;
    row.node.firstChild.classList.toggle("unread", unread);
    show(row.mark, unread);
    // A focused button that goes away would drop focus to the top of the page.
    if (!unread && document.activeElement === row.read) row.node.firstChild.focus();
    show(row.read, unread);
    return row;
  }

  #build(item) {
    const at = new Date(item.created_at);
    const known = t(`status${item.status_id}`);
    const title = h("h3", { class: "title", dir: "auto", id: `title-${item.seq}` }, item.title);
    const mark = h("span", { class: "unseen" }, t("unreadMark"));
    const read = h("button", { type: "button", class: "link", "aria-describedby": title.id, onclick: () => this.#on.read(item.seq) }, t("markRead"));
    const remove = h(
      "button",
      { type: "button", class: "link bin", title: t("remove"), "aria-describedby": title.id, onclick: () => this.#on.remove(item.seq) },
      icon("trash"),
      h("span", { class: "unseen" }, t("remove")),
    );
    const article = h(
      "article",
      { class: `item status-${known ? item.status_id : 0}`, "aria-labelledby": title.id, tabindex: "-1", "data-seq": item.seq },
      h("span", { class: "token" }, icon(statusIcons[item.status_id] ?? "note")),
      h(
        "div",
        { class: "body" },
        h("div", { class: "line-1" }, mark, title, h("time", { datetime: item.created_at, title: fullTime(at) }, timeOfDay(at))),
        h("p", { class: "message", dir: "auto" }, item.message),
        h("div", { class: "line-3" }, known ? h("span", { class: "chip" }, known) : null, h("span", { class: "acts" }, read, remove)),
      ),
    );
    article.addEventListener("click", (e) => {
      // A click on the text marks it read, but not one that selects some of it.
      if (!e.target.closest("button") && getSelection()?.isCollapsed !== false) this.#on.read(item.seq);
    });
    return { node: h("li", {}, article), mark, read };
  }

  #all = () => [...this.#root.querySelectorAll(".item")];

  /** One tab stop for the list: the item last focused, else the newest. */
  #rove(current = this.#root.querySelector('.item[tabindex="0"]') ?? this.#root.querySelector(".item")) {
    for (const node of this.#all()) node.tabIndex = node === current ? 0 : -1;
  }

  #focus(node) {
    if (!node) return;
    this.#rove(node);
    node.focus();
    node.scrollIntoView({ block: "nearest" });
  }

  #key(e) {
    const item = e.target.closest?.(".item");
    if (!item || e.altKey || e.ctrlKey || e.metaKey) return;
    const all = this.#all();
    const at = all.indexOf(item);
    const to = { ArrowDown: all[at + 1], ArrowUp: all[at - 1], Home: all[0], End: all.at(-1) }[e.key];
    const seq = Number(item.dataset.seq);
    if (to) this.#focus(to);
    else if (e.target === item && e.key === "Enter") this.#on.read(seq);
    else if (e.target === item && e.key === "Delete") this.#on.remove(seq);
    else return;
    e.preventDefault();
  }
}
