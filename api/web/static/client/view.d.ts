import type { Inbox } from "./inbox.js";
import type { Notification } from "./types.gen.js";
import { type Language } from "./words.js";
export interface ViewOptions {
    lang: Language;
    /** A click through to a notification's url; true: it was handled, the browser does nothing. */
    open?(item: Notification, url: URL): boolean;
    /** The user wants to sign in again; without it getToken is asked. */
    renew?(): void;
}
/** A whole inbox, drawn from a client's Inbox into a place of a document or shadow root. */
export declare class InboxView {
    #private;
    private readonly inbox;
    private readonly options;
    readonly root: HTMLElement;
    constructor(place: HTMLElement | ShadowRoot, inbox: Inbox, options: ViewOptions);
    set lang(lang: Language);
    /** Ends the drawing; the inbox goes on. */
    close(): void;
    focusUnread(): boolean;
    /** Whether the user can see a notification now. */
    shows(seq: number): boolean;
    /** A session that ends, as the application knows it. */
    set expiring(soon: boolean);
    draw(): void;
    /** Takes the latest deletion back, where it is in time. */
    undo(): void;
}
