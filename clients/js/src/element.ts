import { h, icon, setText, show } from "./dom.js";
import { connect, type Inbox } from "./index.js";
import { dress } from "./style.js";
import { InboxView } from "./view.js";
import { badge, language, type Language, words } from "./words.js";

/** The URL of the server that this file came from; null in a bundle. */
const servedFrom = import.meta.url.endsWith("/client/element.js") ? new URL("..", import.meta.url).href : null;
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement; // Node can import this file, without the elements

/**
 * The base of both elements. They draw the inbox given as `inbox`, or open one of their own
 * from `url` and `getToken`, which is closed when the element leaves the page.
 *
 * Attributes: `url` (of falconbridge; default: the server of this file) and `lang` (`es` or
 * `en`; default: the document's). A click on a link fires a cancelable `open` event with
 * `{ item, url }`.
 */
abstract class Falcon extends Base {
  static readonly observedAttributes = ["lang", "url"];
  #inbox: Inbox | null = null;
  #own: Inbox | null = null;
  #getToken: (() => string | Promise<string>) | null = null;
  #shown: Inbox | null = null;

  get inbox(): Inbox | null {
    return this.#inbox ?? this.#own;
  }

  set inbox(inbox: Inbox | null) {
    this.#inbox = inbox;
    this.#update();
  }

  get getToken(): (() => string | Promise<string>) | null {
    return this.#getToken;
  }

  set getToken(get: (() => string | Promise<string>) | null) {
    this.#getToken = get;
    this.#update();
  }

  connectedCallback(): void {
    // A property that was set before the element was defined hides the accessor.
    for (const name of ["inbox", "getToken"] as const) {
      const early = Object.getOwnPropertyDescriptor(this, name);
      if (!early) continue;
      delete (this as Record<string, unknown>)[name];
      this[name] = early.value as never;
    }
    if (!this.shadowRoot) dress(this.attachShadow({ mode: "open", delegatesFocus: true }));
    this.#update();
  }

  disconnectedCallback(): void {
    this.#own?.close();
    this.#own = null;
    this.#update();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now) return;
    if (name === "url") {
      this.#own?.close();
      this.#own = null;
    }
    this.#update();
    this.speak();
  }

  protected get language(): Language {
    return language(this.lang || document.documentElement.lang || navigator.language);
  }

  #update(): void {
    const url = this.getAttribute("url") ?? servedFrom;
    if (this.isConnected && !this.#inbox && !this.#own && this.#getToken && url) {
      this.#own = connect({ url: new URL(url, document.baseURI).href, getToken: () => this.#getToken!() });
    }
    const wanted = this.isConnected ? this.inbox : null;
    if (wanted === this.#shown) return;
    if (this.#shown) this.hide();
    this.#shown = wanted;
    if (wanted) this.display(wanted);
  }

  protected view(place: ShadowRoot | HTMLElement, inbox: Inbox): InboxView {
    return new InboxView(place, inbox, {
      lang: this.language,
      open: (item, url) => !this.dispatchEvent(new CustomEvent("open", { detail: { item, url }, cancelable: true, bubbles: true, composed: true })),
    });
  }

  protected abstract display(inbox: Inbox): void;
  protected abstract hide(): void;
  protected abstract speak(): void;
}

/** `<falcon-inbox>`: a user's whole inbox. */
export class FalconInbox extends Falcon {
  #view: InboxView | null = null;

  protected display(inbox: Inbox): void {
    this.#view = this.view(this.shadowRoot!, inbox);
  }

  protected hide(): void {
    this.#view?.close();
    this.#view = null;
  }

  protected speak(): void {
    if (this.#view) this.#view.lang = this.language;
  }
}

/** `<falcon-bell>`: the number of unread ones, and the inbox in a panel below. */
export class FalconBell extends Falcon {
  #off: (() => void) | null = null;
  #view: InboxView | null = null;
  readonly #badge = globalThis.document && h("span", { class: "badge", "aria-hidden": "true" });
  readonly #button = globalThis.document && h("button", { type: "button", "aria-expanded": "false", onclick: () => this.toggle() }, icon("bell"), this.#badge);
  readonly #panel = globalThis.document && h("div", { class: "panel", role: "dialog", hidden: true });
  readonly #outside = (e: Event) => !e.composedPath().includes(this) && this.toggle(false);

  /** Opens, closes or toggles the panel. */
  toggle(open = this.#panel.hasAttribute("hidden")): void {
    const inbox = this.inbox;
    if (!inbox || open !== this.#panel.hasAttribute("hidden")) return;
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
  #settle(): void {
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

  protected display(inbox: Inbox): void {
    const root = h("div", { class: "falcon-bell", onkeydown: (e: KeyboardEvent) => {
      if (e.key !== "Escape" || this.#panel.hasAttribute("hidden")) return;
      this.toggle(false);
      this.#button.focus();
    } }, this.#button, this.#panel);
    this.shadowRoot!.append(root);
    const off = inbox.on("change", () => this.speak());
    this.#off = () => {
      this.toggle(false);
      off();
      root.remove();
    };
    this.speak();
  }

  protected hide(): void {
    this.#off?.();
    this.#off = null;
  }

  protected speak(): void {
    const w = words(this.language);
    const unread = this.inbox?.unread ?? 0;
    setText(this.#badge, badge(unread));
    this.#button.setAttribute("aria-label", w.bell(unread));
    this.#panel.setAttribute("aria-label", w.inbox);
    if (this.#view) this.#view.lang = this.language;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "falcon-inbox": FalconInbox;
    "falcon-bell": FalconBell;
  }
}

if (globalThis.customElements && !customElements.get("falcon-inbox")) {
  customElements.define("falcon-inbox", FalconInbox);
  customElements.define("falcon-bell", FalconBell);
}
