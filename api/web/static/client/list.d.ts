import type { Notification } from "./types.gen.js";
import { type Language } from "./words.js";
/** What a user asks for in the list. */
export interface ListEvents {
    read(item: Notification): void;
    unread(item: Notification): void;
    remove(item: Notification): void;
    muteKind(kind: string): void;
    undo(): void;
    /** A click through; false leaves it to the browser. */
    open(item: Notification, url: URL): boolean;
}
/** Where a notification leads; null where it has no address, or one no link may have. */
export declare function urlOf(item: Notification, base: string): URL | null;
/**
 * Notifications in the order given, under a heading a local day. Elements are kept from
 * one drawing to the next, so that focus and scroll position stay where they are. One
 * tab stop leads into the list, arrow keys lead through it.
 */
export declare class List {
    #private;
    private readonly root;
    private readonly events;
    private lang;
    private readonly heading;
    private readonly base;
    constructor(root: HTMLElement, events: ListEvents, lang: Language, heading?: 1 | 2, base?: string);
    draw(items: readonly Notification[]): void;
    /** Writes how long ago everything was. */
    tick(): void;
    /** Forgets all elements, for another language. */
    clear(lang: Language): void;
    /** The element of a notification, where it is shown. */
    element(seq: number): HTMLElement | null;
    /** Moves focus to the newest unread one; false where there is none. */
    focusUnread(): boolean;
    /** Where focus goes when that one disappears. */
    neighbour(seq: number): HTMLElement | null;
    focus(node: HTMLElement | null | undefined): void;
}
