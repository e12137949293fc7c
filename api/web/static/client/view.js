import { h, icon, setText, show } from "./dom.js";
import { List } from "./list.js";
import { RestError } from "./rest.js";
import { dress } from "./style.js";
import { words } from "./words.js";
const undoFor = 8_000; // ms
const tickEvery = 30_000;
/** A whole inbox, drawn from a client's Inbox into an element of a document or shadow root. */
export class InboxView {
    inbox;
    options;
    root;
    #list;
    #off = [];
    #lang;
    #unreadOnly = false;
    #undo = null;
    #quiet;
    #tick;
    #title;
    #summary = h("p", { class: "summary" });
    #all = h("button", { type: "button", class: "all", onclick: () => this.#filter(false) });
    #unread = h("button", { type: "button", class: "unread-only", onclick: () => this.#filter(true) });
    #choice = h("div", { class: "choice", role: "group" }, this.#all, this.#unread);
    #markAll = h("button", { type: "button", class: "tool mark-all", onclick: () => this.#run(() => this.inbox.readAll(), "markedAll") });
    #removeRead = h("button", { type: "button", class: "tool remove-read", onclick: () => this.#removeAllRead() });
    #muteName = h("span");
    #mute = h("button", { type: "button", class: "tool mute", role: "switch", onclick: () => this.#run(() => this.inbox.mute(!this.inbox.muted)) }, this.#muteName, h("span", { class: "track", "aria-hidden": "true" }));
    #notice = h("div", { class: "notice" });
    #kinds = h("div", { class: "notice kinds" });
    #days = h("div", { class: "days" });
    #loading = h("p", { class: "loading" });
    #empty = h("div", { class: "empty" });
    #older = h("button", { type: "button", class: "outline older", onclick: () => this.#more() });
    #said = h("span");
    #undoButton = h("button", { type: "button", onclick: () => this.undo() });
    #bar = h("div", { class: "said", role: "status", hidden: true }, this.#said, this.#undoButton);
    constructor(place, inbox, options) {
        this.inbox = inbox;
        this.options = options;
        const root = place.getRootNode();
        dress(root instanceof ShadowRoot ? root : document);
        this.#lang = options.lang;
        const heading = options.heading ?? 2;
        this.#title = h(`h${heading}`, { class: "name", id: "falcon-title" });
        this.root = h("section", { class: "falcon", "aria-labelledby": this.#title.id }, h("div", { class: "toolbar" }, h("div", { class: "heading" }, this.#title, this.#summary), this.#choice, this.#markAll, this.#removeRead, this.#mute), this.#notice, this.#kinds, this.#days, this.#loading, this.#empty, this.#older, this.#bar);
        this.#list = new List(this.#days, {
            read: (item) => this.#run(() => inbox.read(item.id)),
            unread: (item) => this.#run(() => inbox.markUnread(item.id)),
            remove: (item) => this.#remove(item),
            muteKind: (kind) => this.#run(() => inbox.muteKind(kind)),
            undo: () => this.undo(),
            open: (item, url) => options.open?.(item, url) ?? false,
        }, this.#lang, heading, options.base);
        place.append(this.root);
        this.#off.push(inbox.on("change", () => this.draw()), inbox.on("refused", (error) => this.#refused(error)), inbox.on("notification", (item) => this.#list.element(item.seq)?.classList.add("fresh")));
        this.#tick = setInterval(() => this.#list.tick(), tickEvery);
        this.#speak();
    }
    set lang(lang) {
        if (lang === this.#lang)
            return;
        this.#lang = lang;
        this.#list.clear(lang);
        this.#speak();
    }
    /** Stops drawing. The inbox stays open. */
    close() {
        for (const off of this.#off)
            off();
        clearInterval(this.#tick);
        clearTimeout(this.#quiet);
        this.root.remove();
    }
    focusUnread() {
        return this.#list.focusUnread();
    }
    /** Moves the focus to a notification; false if it is not shown. */
    focus(seq) {
        const element = this.#list.element(seq);
        this.#list.focus(element);
        return element !== null;
    }
    /** Whether the user can see a notification now: in a visible page, inside the window, not covered. */
    shows(seq) {
        const element = this.#list.element(seq);
        if (!element || document.visibilityState !== "visible")
            return false;
        const { left, top, width, height } = element.getBoundingClientRect();
        const there = element.getRootNode().elementFromPoint(left + width / 2, top + height / 2);
        return there !== null && element.contains(there);
    }
    #speak() {
        const w = words(this.#lang);
        this.root.lang = this.#lang;
        for (const [node, text] of [
            [this.#title, w.inbox], [this.#all, w.all], [this.#unread, w.unreadOnly], [this.#markAll, w.markAll], [this.#removeRead, w.removeRead],
            [this.#muteName, w.mute], [this.#loading, w.loading], [this.#older, w.older], [this.#undoButton, w.undo],
        ])
            setText(node, text);
        this.#choice.setAttribute("aria-label", w.filter);
        this.#mute.title = w.muteHint;
        this.draw();
    }
    draw() {
        const { inbox } = this;
        const w = words(this.#lang);
        const items = this.#unreadOnly ? inbox.unreadList() : inbox.list();
        const hidden = inbox.muted === true && !inbox.showsMuted;
        const none = inbox.list().length === 0 && !inbox.hasOlder;
        setText(this.#summary, inbox.loaded && !inbox.muted && !none ? w.unread(inbox.unread) : "");
        this.#all.setAttribute("aria-pressed", String(!this.#unreadOnly));
        this.#unread.setAttribute("aria-pressed", String(this.#unreadOnly));
        this.#markAll.disabled = inbox.unread === 0 && inbox.unreadList().length === 0; // muted, the server counts none
        show(this.#removeRead, inbox.list().some((item) => item.read_at));
        this.#mute.disabled = inbox.muted === null;
        this.#mute.setAttribute("aria-checked", String(inbox.muted === true));
        this.#list.draw(items);
        show(this.#loading, !inbox.loaded && inbox.error === null && inbox.state !== "ended");
        show(this.#older, inbox.loaded && (this.#unreadOnly ? inbox.hasOlderUnread : inbox.hasOlder));
        this.#drawEmpty(inbox.loaded && !hidden && items.length === 0 && this.#older.hasAttribute("hidden"), none);
        this.#drawNotice();
        this.#drawKinds();
    }
    #drawEmpty(visible, none) {
        show(this.#empty, visible);
        if (!visible)
            return;
        const w = words(this.#lang);
        const [title, text] = none ? [w.emptyTitle, w.emptyText] : [w.noUnreadTitle, w.noUnreadText];
        if (this.#empty.textContent?.startsWith(title + text))
            return;
        this.#empty.replaceChildren(icon(none ? "bell" : "check"), h(`h${(this.options.heading ?? 2) === 1 ? 2 : 3}`, { class: "big" }, title), h("p", {}, text), none ? "" : h("button", { type: "button", class: "outline", onclick: () => this.#filter(false) }, w.showAll));
    }
    /** The most important message about the whole inbox. */
    #drawNotice() {
        const { inbox } = this;
        const w = words(this.#lang);
        const state = inbox.state === "away" && navigator.onLine === false ? "offline" : inbox.state;
        const trouble = state === "away" || state === "offline" || state === "polling" || state === "ended";
        const which = trouble ? state : inbox.expiring !== null ? "expiring" : inbox.muted ? "muted" : null;
        show(this.#notice, which !== null);
        if (which === null)
            return;
        this.#notice.className = `notice ${trouble && which !== "polling" ? "trouble" : ""}`;
        const { error } = inbox;
        const cause = state !== "ended" && state !== "away" ? "" : ((error instanceof RestError ? error.detail : error?.message) ?? "");
        const key = [which, this.#lang, inbox.showsMuted, cause].join();
        if (this.#notice.dataset["key"] === key)
            return; // so that a pressed button keeps the focus
        this.#notice.dataset["key"] = key;
        const button = (name, act) => h("button", { type: "button", class: "outline", onclick: () => this.#run(async () => void (await act())) }, name);
        const renew = () => (this.options.renew ? this.options.renew() : inbox.renew());
        this.#notice.replaceChildren(h("p", {}, h("strong", {}, w[`${which}Title`]), ` ${w[`${which}Text`]}`, cause && h("br"), cause && h("span", { class: "cause" }, cause)), ...(which === "muted"
            ? [button(inbox.showsMuted ? w.hideMuted : w.showMuted, () => inbox.showMuted(!inbox.showsMuted)), button(w.unmute, () => inbox.mute(false))]
            : [which === "ended" || which === "expiring" ? button(w.renew, renew) : button(w.retry, () => inbox.refresh())]));
    }
    #drawKinds() {
        const kinds = Object.entries(this.inbox.kinds).filter(([, on]) => on === 0).map(([kind]) => kind).sort();
        show(this.#kinds, kinds.length > 0 && !this.inbox.muted);
        const key = [this.#lang, ...kinds].join();
        if (this.#kinds.dataset["key"] === key)
            return;
        this.#kinds.dataset["key"] = key;
        const w = words(this.#lang);
        this.#kinds.replaceChildren(h("p", {}, w.kindsMuted(kinds.join(", "))), ...kinds.map((kind) => h("button", { type: "button", class: "outline", onclick: () => this.#run(() => this.inbox.muteKind(kind, false)) }, w.unmuteKind(kind))));
    }
    #filter(unreadOnly) {
        this.#unreadOnly = unreadOnly;
        this.draw();
        if (unreadOnly && this.inbox.unreadList().length === 0 && this.inbox.hasOlderUnread)
            this.#more();
    }
    #more() {
        void this.#run(async () => {
            const added = await (this.#unreadOnly ? this.inbox.olderUnread() : this.inbox.older());
            this.#say(words(this.#lang).olderLoaded(added.length));
        });
    }
    #remove(item) {
        const next = this.#list.neighbour(item.seq);
        const within = this.#list.element(item.seq)?.matches(":focus-within");
        this.#undo = this.inbox.removeLater(item.id, undoFor);
        this.#say(words(this.#lang).removed, true);
        if (within)
            next ? this.#list.focus(next) : this.#undoButton.focus();
    }
    #removeAllRead() {
        this.#undo = this.inbox.removeReadLater(undoFor);
        this.#say(words(this.#lang).readRemoved, true);
        this.#undoButton.focus(); // the pressed button no longer exists
    }
    /** Undoes the latest deletion, if it is in time. */
    undo() {
        if (!this.#undo)
            return;
        const undone = this.#undo();
        this.#undo = null;
        if (undone)
            this.#say(words(this.#lang).undone);
    }
    #say(text, undo = false) {
        if (!undo)
            this.#undo = null;
        setText(this.#said, text);
        show(this.#undoButton, undo);
        show(this.#bar, true);
        clearTimeout(this.#quiet);
        this.#quiet = setTimeout(() => {
            show(this.#bar, false);
            setText(this.#said, ""); // so that screen readers repeat the same text
        }, undo ? undoFor : 4_000);
    }
    /** Explains why the server refused a change in the background, such as a deletion, which then reappears. */
    #refused(error) {
        if (error instanceof RestError && error.status >= 400 && error.status !== 401)
            this.#say(words(this.#lang).failed(error.message));
    }
    /** Performs an action of the user and announces its result or its error. */
    async #run(act, done) {
        try {
            await act();
            if (done && !this.#undo)
                this.#say(words(this.#lang)[done]); // an undo that is offered meanwhile stays
        }
        catch (error) {
            if (!(error instanceof Error))
                throw error;
            this.#say(words(this.#lang).failed(error instanceof RestError && error.status === 0 ? "" : error.message));
        }
    }
}
