import type { Inbox } from "./inbox.js";
import type { Notification } from "./types.gen.js";
import { type Language } from "./words.js";
export interface ViewOptions {
    lang: Language;
    /** The level of the inbox's own heading; 2 without it. Days and notifications stand one and two below. */
    heading?: 1 | 2;
    /** What a notification's relative url is resolved against; without it the document. */
    base?: string;
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
    /** Moves focus to a notification; false where it is not shown. */
    focus(seq: number): boolean;
    /** Whether the user can see a notification now: in a visible page, inside the window, under nothing else. */
    shows(seq: number): boolean;
    draw(): void;
    /** Takes the latest deletion back, where it is in time. */
    undo(): void;
}
