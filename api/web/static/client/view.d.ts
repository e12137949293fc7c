import type { Inbox } from "./inbox.js";
import type { Notification } from "./types.gen.js";
import { type Language } from "./words.js";
export interface ViewOptions {
    lang: Language;
    /** The level of the inbox's heading. Default: 2. Days and notifications are one and two levels below. */
    heading?: 1 | 2;
    /** The base of a notification's relative url. Default: the document. */
    base?: string;
    /** A click on a notification's url. True: it was handled, and the browser does nothing. */
    open?(item: Notification, url: URL): boolean;
    /** The user wants to sign in again. Default: getToken is called. */
    renew?(): void;
}
/** A whole inbox, drawn from a client's Inbox into an element of a document or shadow root. */
export declare class InboxView {
    #private;
    private readonly inbox;
    private readonly options;
    readonly root: HTMLElement;
    constructor(place: HTMLElement | ShadowRoot, inbox: Inbox, options: ViewOptions);
    set lang(lang: Language);
    /** Stops drawing. The inbox stays open. */
    close(): void;
    focusUnread(): boolean;
    /** Moves the focus to a notification; false if it is not shown. */
    focus(seq: number): boolean;
    /** Whether the user can see a notification now: in a visible page, inside the window, not covered. */
    shows(seq: number): boolean;
    draw(): void;
    /** Undoes the latest deletion, if it is in time. */
    undo(): void;
}
