import { h, icon, setText, show } from "./dom.js";
import { connect } from "./index.js";
import { dress } from "./style.js";
import { InboxView } from "./view.js";
import { badge, language, words } from "./words.js";
/** The URL of the server that this file came from; null in a bundle. */
const servedFrom = import.meta.url.endsWith("/client/element.js") ? new URL("..", import.meta.url).href : null;
const Base = (globalThis.HTMLElement ?? class {
}); // Node can import this file, without the elements
/**
 * The base of both elements. They draw the inbox given as `inbox`, or open one of their own
 * from `url` and `getToken`, which is closed when the element leaves the page.
 *
 * Attributes: `url` (of falconbridge; default: the server of this file) and `lang` (`es` or
 * `en`; default: the document's). A click on a link fires a cancelable `open` event with
 * `{ item, url }`.
 */
class Falcon extends Base {
    static observedAttributes = ["lang", "url"];
    #inbox = null;
    #own = null;
    #getToken = null;
    #shown = null;
    get inbox() {
        return this.#inbox ?? this.#own;
    }
    set inbox(inbox) {
        this.#inbox = inbox;
        this.#update();
    }
    get getToken() {
        return this.#getToken;
    }
    set getToken(get) {
        this.#getToken = get;
        this.#update();
    }
    connectedCallback() {
        // A property that was set before the element was defined hides the accessor.
        for (const name of ["inbox", "getToken"]) {
            const early = Object.getOwnPropertyDescriptor(this, name);
            if (!early)
                continue;
            delete this[name];
            this[name] = early.value;
        }
        if (!this.shadowRoot)
            dress(this.attachShadow({ mode: "open", delegatesFocus: true }));
        this.#update();
    }
    disconnectedCallback() {
        this.#own?.close();
        this.#own = null;
        this.#update();
    }
    attributeChangedCallback(name, before, now) {
        if (before === now)
            return;
        if (name === "url") {
            this.#own?.close();
            this.#own = null;
        }
        this.#update();
        this.speak();
    }
    get language() {
        return language(this.lang || document.documentElement.lang || navigator.language);
    }
    #update() {
        const url = this.getAttribute("url") ?? servedFrom;
        if (this.isConnected && !this.#inbox && !this.#own && this.#getToken && url) {
            this.#own = connect({ url: new URL(url, document.baseURI).href, getToken: () => this.#getToken() });
        }
        const wanted = this.isConnected ? this.inbox : null;
        if (wanted === this.#shown)
            return;
        if (this.#shown)
            this.hide();
        this.#shown = wanted;
        if (wanted)
            this.display(wanted);
    }
    view(place, inbox) {
        return new InboxView(place, inbox, {
            lang: this.language,
            open: (item, url) => !this.dispatchEvent(new CustomEvent("open", { detail: { item, url }, cancelable: true, bubbles: true, composed: true })),
        });
    }
}
/** `<falcon-inbox>`: a user's whole inbox. */
export class FalconInbox extends Falcon {
    #view = null;
    display(inbox) {
        this.#view = this.view(this.shadowRoot, inbox);
    }
    hide() {
        this.#view?.close();
        this.#view = null;
    }
    speak() {
        if (this.#view)
            this.#view.lang = this.language;
    }
}
/** `<falcon-bell>`: the number of unread ones, and the inbox in a panel below. */
export class FalconBell extends Falcon {
    #off = null;
    #view = null;
    #badge = globalThis.document && h("span", { class: "badge", "aria-hidden": "true" });
    #button = globalThis.document && h("button", { type: "button", "aria-expanded": "false", onclick: () => this.toggle() }, icon("bell"), this.#badge);
    #panel = globalThis.document && h("div", { class: "panel", role: "dialog", hidden: true });
    #outside = (e) => !e.composedPath().includes(this) && this.toggle(false);
    /** Opens, closes or toggles the panel. */
    toggle(open = this.#panel.hasAttribute("hidden")) {
        const inbox = this.inbox;
        if (!inbox || open !== this.#panel.hasAttribute("hidden"))
            return;
        show(this.#panel, open);
        this.#button.setAttribute("aria-expanded", String(open));
        if (open) {
            this.#view = this.view(this.#panel, inbox);
            this.#view.root.removeAttribute("aria-labelledby"); // the panel has the name
            document.addEventListener("pointerdown", this.#outside);
            this.#settle();
            this.#view.focusUnread();
            return;
        }
        document.removeEventListener("pointerdown", this.#outside);
        this.#view?.close();
        this.#view = null;
    }
    /** Places the panel below the bell, aligned with its end, within the window. */
    #settle() {
        const bell = this.#button.getBoundingClientRect();
        const { width } = this.#panel.getBoundingClientRect();
        const { clientWidth, clientHeight } = document.documentElement;
        const rtl = getComputedStyle(this).direction === "rtl";
        const left = Math.max(12, Math.min(rtl ? bell.left : bell.right - width, clientWidth - width - 12));
        const top = Math.max(12, Math.min(bell.bottom + 6, clientHeight - 200));
        // style-src does not restrict styles that are set through the object model.
        this.#panel.style.left = `${left}px`;
        this.#panel.style.top = `${top}px`;
        this.#panel.style.maxHeight = `${Math.min(620, clientHeight - top - 12)}px`;
    }
    display(inbox) {
        const root = h("div", { class: "falcon-bell", onkeydown: (e) => {
                if (e.key !== "Escape" || this.#panel.hasAttribute("hidden"))
                    return;
                this.toggle(false);
                this.#button.focus();
            } }, this.#button, this.#panel);
        this.shadowRoot.append(root);
        const off = inbox.on("change", () => this.speak());
        this.#off = () => {
            this.toggle(false);
            off();
            root.remove();
        };
        this.speak();
    }
    hide() {
        this.#off?.();
        this.#off = null;
    }
    speak() {
        const w = words(this.language);
        const unread = this.inbox?.unread ?? 0;
        setText(this.#badge, badge(unread));
        this.#button.setAttribute("aria-label", w.bell(unread));
        this.#panel.setAttribute("aria-label", w.inbox);
        if (this.#view)
            this.#view.lang = this.language;
    }
}
if (globalThis.customElements && !customElements.get("falcon-inbox")) {
    customElements.define("falcon-inbox", FalconInbox);
    customElements.define("falcon-bell", FalconBell);
}
