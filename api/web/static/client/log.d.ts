import type { Page } from "./rest.js";
import type { InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/**
 * What is known of one user's notifications: a stretch of the log from the oldest
 * loaded one to the newest, joined by seq from history and live messages.
 */
export declare class Log {
    #private;
    readonly items: Map<number, Notification>;
    unread: number;
    /** Whether older ones can be loaded. */
    more: boolean;
    /** Whether the history was read once. */
    loaded: boolean;
    /** The highest seq known of. */
    head: number;
    epoch: string | null;
    /** The inbox state that is known; null where the server does not count it. */
    rev: number | null;
    /** From this seq on the list has no hole. Older unread ones may be there for unreadItems. */
    floor: number;
    /** The page that stands in for everything known: an unmute, or more changes than are told one by one. */
    stale: boolean;
    /** Newest first. */
    sorted(): Notification[];
    /** The unread ones, newest first, below the floor as well. */
    unreadItems(): Notification[];
    byId(id: number): Notification | undefined;
    /**
     * Takes an item in; false where it was there or was deleted. One that is known is
     * replaced only where the other is the newer: a redelivery or a page that was asked
     * for before a mark would undo it.
     */
    put(item: Notification, newer?: boolean): boolean;
    /**
     * Takes a live item in: new or a repeat, and what was jumped over before it. One that a
     * list passed over which was read since it was sent is gone.
     */
    arrive(item: Notification): {
        fresh: boolean;
        gap: {
            from: number;
            to: number;
        } | null;
    };
    /** Takes the next older page in. Returns what is new. */
    append(page: Page): Notification[];
    /**
     * Applies what changed elsewhere, or here. False where the list must be fetched again:
     * it is older than the change begins, or the server says so.
     */
    apply(state: InboxState): boolean;
    /** Whether the next older page is needed to reach what is known. */
    reaches(read: Notification[], more: boolean): boolean;
    /**
     * Joins the newest page, and the older ones read after it, to what is known. newer:
     * nothing was marked here since they were asked for. Returns what is new, oldest
     * first; nothing the first time.
     */
    join(newest: Page, read: Notification[], more: boolean, newer: boolean): Notification[];
    remove(seq: number): void;
    restore(item: Notification): void;
    markRead(upTo: number, only?: number | null, at?: string): void;
    /** Takes the reading of an item back, after the server refused it. */
    unmark(item: Notification): void;
    /** Another life of the log: the seqs known so far mean nothing. */
    forget(): void;
}
