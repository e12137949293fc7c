import type { Notification } from "./types.gen.js";
import { type Language } from "./words.js";
/** The actions of the list. */
export interface ListEvents {
    read(item: Notification): void;
    unread(item: Notification): void;
    remove(item: Notification): void;
    muteKind(kind: string): void;
    undo(): void;
    /** A click on the link; false leaves it to the browser. */
    open(item: Notification, url: URL): boolean;
}
/** Where a notification leads; null if it has no URL, or one that must not be a link. */
export declare function urlOf(item: Notification, base: string): URL | null;
/**
 * Notifications in the given order, with a heading for each local day. Elements are reused
 * between drawings, so that focus and scroll position are kept. The list is one tab stop;
 * the arrow keys move within it.
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
    /** Updates the relative times. */
    tick(): void;
    /** Removes all elements, before the list is drawn in another language. */
    clear(lang: Language): void;
    /** The element of a notification, if it is shown. */
    element(seq: number): HTMLElement | null;
    /** Moves the focus to the newest unread one; false if there is none. */
    focusUnread(): boolean;
    /** Where the focus moves when that one disappears. */
    neighbour(seq: number): HTMLElement | null;
    focus(node: HTMLElement | null | undefined): void;
}
