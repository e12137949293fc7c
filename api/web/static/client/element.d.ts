import { type Inbox } from "./index.js";
import { InboxView } from "./view.js";
import { type Language } from "./words.js";
declare const Base: typeof HTMLElement;
/**
 * The base of both elements. They draw the inbox given as `inbox`, or open one of their own
 * from `url` and `getToken`, which is closed when the element leaves the page.
 *
 * Attributes: `url` (of falconbridge; default: the server of this file) and `lang` (`es` or
 * `en`; default: the document's). A click on a link fires a cancelable `open` event with
 * `{ item, url }`.
 */
declare abstract class Falcon extends Base {
    #private;
    static readonly observedAttributes: string[];
    get inbox(): Inbox | null;
    set inbox(inbox: Inbox | null);
    get getToken(): (() => string | Promise<string>) | null;
    set getToken(get: (() => string | Promise<string>) | null);
    connectedCallback(): void;
    disconnectedCallback(): void;
    attributeChangedCallback(name: string, before: string | null, now: string | null): void;
    protected get language(): Language;
    protected view(place: ShadowRoot | HTMLElement, inbox: Inbox): InboxView;
    protected abstract display(inbox: Inbox): void;
    protected abstract hide(): void;
    protected abstract speak(): void;
}
/** `<falcon-inbox>`: a user's whole inbox. */
export declare class FalconInbox extends Falcon {
    #private;
    protected display(inbox: Inbox): void;
    protected hide(): void;
    protected speak(): void;
}
/** `<falcon-bell>`: the number of unread ones, and the inbox in a panel below. */
export declare class FalconBell extends Falcon {
    #private;
    /** Opens, closes or toggles the panel. */
    toggle(open?: boolean): void;
    protected display(inbox: Inbox): void;
    protected hide(): void;
    protected speak(): void;
}
declare global {
    interface HTMLElementTagNameMap {
        "falcon-inbox": FalconInbox;
        "falcon-bell": FalconBell;
    }
}
export {};
