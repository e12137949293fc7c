import { arrange, h, icon, setText, show } from "./dom.js";
import { ago, dayName, dayOf, fullTime, words } from "./words.js";
const statusIcons = { 1: "clock", 2: "check", 3: "cross" };
/** Where a notification leads; null if it has no URL, or one that must not be a link. */
export function urlOf(item, base) {
    const given = item.url;
    if (typeof given !== "string")
        return null;
    try {
        const url = new URL(given, base);
        return url.protocol === "https:" || url.protocol === "http:" ? url : null;
    }
    catch {
        return null;
    }
}
/**
 * Notifications in the given order, with a heading for each local day. Elements are reused
 * between drawings, so that focus and scroll position are kept. The list is one tab stop;
 * the arrow keys move within it.
 */
export class List {
    root;
    events;
    lang;
    heading;
    base;
    #rows = new Map();
    #days = new Map();
    constructor(root, events, lang, heading = 2, base = document.baseURI) {
        this.root = root;
        this.events = events;
        this.lang = lang;
        this.heading = heading;
        this.base = base;
        root.addEventListener("keydown", (e) => this.#key(e));
    }
    draw(items) {
        const groups = new Map();
        for (const item of items) {
            const row = this.#row(item);
            const day = dayOf(row.at);
            const group = groups.get(day);
            if (group)
                group.push(row.node);
            else
                groups.set(day, [row.node]);
        }
        const there = new Set(items.map((item) => item.seq));
        for (const seq of this.#rows.keys())
            if (!there.has(seq))
                this.#rows.delete(seq);
        for (const day of this.#days.keys())
            if (!groups.has(day))
                this.#days.delete(day);
        arrange(this.root, [...groups.keys()].sort((a, b) => b - a).map((day) => this.#day(day, groups.get(day))));
        this.#rove();
    }
    /** Updates the relative times. */
    tick() {
        for (const row of this.#rows.values())
            setText(row.time, ago(row.at, this.lang));
        for (const [day, group] of this.#days)
            setText(group.name, dayName(new Date(day), this.lang));
    }
    /** Removes all elements, before the list is drawn in another language. */
    clear(lang) {
        this.lang = lang;
        this.#rows.clear();
        this.#days.clear();
        this.root.replaceChildren();
    }
    /** The element of a notification, if it is shown. */
    element(seq) {
        return this.#rows.get(seq)?.article ?? null;
    }
    /** Moves the focus to the newest unread one; false if there is none. */
    focusUnread() {
        const node = this.root.querySelector(".item.unread");
        this.focus(node);
        return node !== null;
    }
    /** Where the focus moves when that one disappears. */
    neighbour(seq) {
        const all = this.#all();
        const at = all.indexOf(this.#rows.get(seq)?.article);
        return all[at + 1] ?? all[at - 1] ?? null;
    }
    focus(node) {
        if (!node)
            return;
        this.#rove(node);
        node.focus();
        node.scrollIntoView({ block: "nearest" });
    }
    #day(day, rows) {
        let group = this.#days.get(day);
        if (!group) {
            const name = h(`h${this.heading === 1 ? 2 : 3}`, { class: "day", id: `falcon-day-${day}` });
            const list = h("ul", { class: "items", "aria-labelledby": name.id });
            group = { node: h("section", {}, name, list), name, list };
            this.#days.set(day, group);
        }
        setText(group.name, dayName(new Date(day), this.lang));
        arrange(group.list, rows);
        return group.node;
    }
    #row(item) {
        let row = this.#rows.get(item.seq);
        if (!row || row.item.id !== item.id) {
            row = this.#build(item);
            this.#rows.set(item.seq, row);
        }
        row.item = item;
        const unread = !item.read_at;
        row.article.classList.toggle("unread", unread);
        show(row.mark, unread);
        const name = words(this.lang)[unread ? "markRead" : "markUnread"];
        if (row.toggle.title !== name) {
            row.toggle.title = name;
            row.toggle.setAttribute("aria-label", name);
            row.toggle.replaceChildren(icon(unread ? "check" : "unread"));
        }
        return row;
    }
    #build(item) {
        const w = words(this.lang);
        const at = new Date(item.created_at);
        const id = `falcon-title-${item.seq}`;
        const current = () => this.#rows.get(item.seq)?.item ?? item;
        const url = urlOf(item, this.base);
        const link = url && h("a", {
            href: url.href,
            ...(url.origin === location.origin ? {} : { target: "_blank", rel: "noopener noreferrer" }),
            onclick: (e) => this.#follow(current(), url, e),
        }, item.title);
        const title = h(`h${this.heading === 1 ? 3 : 4}`, { class: "title", dir: "auto", id }, link || item.title);
        const mark = h("span", { class: "unseen" }, w.unreadMark);
        const status = item.status_id === undefined ? undefined : w[`status${item.status_id}`];
        const act = (name, shape, onclick) => h("button", { type: "button", class: "act", title: name, "aria-label": name, "aria-describedby": id, onclick }, shape && icon(shape));
        const toggle = act("", null, () => (current().read_at ? this.events.unread(current()) : this.events.read(current())));
        const remove = act(w.remove, "trash", () => this.events.remove(current()));
        remove.classList.add("remove");
        const mute = item.kind === "message" ? null : act(w.muteKind(item.kind), "bell-off", () => this.events.muteKind(item.kind));
        const time = h("time", { datetime: item.created_at, title: fullTime(at, this.lang) }, ago(at, this.lang));
        const message = h("p", { class: "message clamped", dir: "auto" }, item.message);
        const article = h("article", { class: `item status-${item.status_id ?? 0}`, "aria-labelledby": id, tabindex: "-1", "data-seq": item.seq }, h("span", { class: "token" }, icon(statusIcons[item.status_id ?? 0] ?? "note")), h("div", { class: "body" }, h("div", { class: "top" }, mark, title, status && h("span", { class: "chip" }, status), time), h("div", { class: "text" }, message), h("div", { class: "acts" }, toggle, mute, remove)));
        this.#clamp(message);
        article.addEventListener("click", (e) => {
            // A click on the text marks it as read, but not one that selects some of it. By path,
            // because the pressed icon may have been replaced by now.
            const pressed = e.composedPath().some((node) => node instanceof Element && node.matches("button, a"));
            if (!pressed && getSelection()?.isCollapsed !== false && !current().read_at)
                this.events.read(current());
        });
        return { item, node: h("li", {}, article), article, mark, toggle, time, at };
    }
    /** Offers the rest of a message that does not fit, after layout. */
    #clamp(message) {
        if (typeof ResizeObserver === "undefined")
            return;
        let expand;
        new ResizeObserver(() => {
            if (expand || message.scrollHeight <= message.clientHeight + 1)
                return;
            const w = words(this.lang);
            expand = h("button", { type: "button", class: "expand", "aria-expanded": "false", onclick: () => {
                    const clamped = message.classList.toggle("clamped");
                    expand.setAttribute("aria-expanded", String(!clamped));
                    expand.textContent = clamped ? w.more : w.less;
                } }, w.more);
            message.after(expand);
        }).observe(message);
    }
    #follow(item, url, e) {
        if (!item.read_at)
            this.events.read(item);
        const plain = e.button === 0 && !e.metaKey && !e.ctrlKey && !e.shiftKey && !e.altKey;
        if (plain && this.events.open(item, url))
            e.preventDefault();
    }
    #all = () => [...this.root.querySelectorAll(".item")];
    #rove(current = this.root.querySelector('.item[tabindex="0"]') ?? this.root.querySelector(".item")) {
        for (const node of this.#all())
            node.tabIndex = node === current ? 0 : -1;
    }
    #key(e) {
        if ((e.ctrlKey || e.metaKey) && e.key === "z")
            return this.events.undo();
        const article = e.target.closest(".item");
        if (!article || e.altKey || e.ctrlKey || e.metaKey)
            return;
        const row = this.#rows.get(Number(article.dataset["seq"]));
        if (!row)
            return;
        const all = this.#all();
        const at = all.indexOf(article);
        const to = { ArrowDown: all[at + 1], ArrowUp: all[at - 1], Home: all[0], End: all.at(-1) }[e.key];
        const own = e.target === article;
        if (to)
            this.focus(to);
        else if (own && e.key === "Enter") {
            const link = article.querySelector(".title a");
            if (link)
                link.click();
            else if (!row.item.read_at)
                this.events.read(row.item);
        }
        else if (own && e.key === "u" && row.item.read_at)
            this.events.unread(row.item);
        else if (own && e.key === "Delete")
            this.events.remove(row.item);
        else
            return;
        e.preventDefault();
    }
}
