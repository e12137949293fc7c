import type { Page } from "./rest.js";
import type { InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/**
 * The known part of one user's notifications: a section of the log from the oldest loaded
 * one to the newest, merged by seq from history and live messages.
 */
export declare class Log {
    #private;
    readonly items: Map<number, Notification>;
    unread: number;
    /** Whether older ones can be loaded. */
    more: boolean;
    /** Whether the history has been read. */
    loaded: boolean;
    /** The highest known seq. */
    head: number;
    epoch: string | null;
    /** The known rev of the inbox; null if the server does not count revs. */
    rev: number | null;
    /** From this seq on the list has no gaps. Older unread ones may be known for unreadItems. */
    floor: number;
    /** The next page replaces everything known, as after an unmute or very many changes. */
    stale: boolean;
    /** Newest first. */
    sorted(): Notification[];
    /** The unread ones, newest first, below the floor as well. */
    unreadItems(): Notification[];
    byId(id: number): Notification | undefined;
    /**
     * Adds an item; false if it was known or deleted. A known one is replaced only by a newer
     * version: a redelivery, or a page that was requested before a mark, would undo the mark.
     */
    put(item: Notification, newer?: boolean): boolean;
    /**
     * Adds a live item. Returns whether it is new, and the gap before it. An item that is
     * missing from a list which covers its seq was deleted.
     */
    arrive(item: Notification): {
        fresh: boolean;
        gap: {
            from: number;
            to: number;
        } | null;
    };
    /** Adds the next older page. Returns the new items. */
    append(page: Page): Notification[];
    /**
     * Applies changes from any device. False if the list has to be fetched again, because it
     * is older than the changes or the server says so.
     */
    apply(state: InboxState): boolean;
    /** Whether the pages read so far reach the known items, so that no older one is needed. */
    reaches(read: Notification[], more: boolean): boolean;
    /**
     * Merges the newest page, and older ones read after it, with the known items. newer:
     * nothing was marked here since they were requested. Returns the new items, oldest
     * first; none the first time.
     */
    join(newest: Page, read: Notification[], more: boolean, newer: boolean): Notification[];
    remove(seq: number): void;
    restore(item: Notification): void;
    markRead(upTo: number, only?: number | null, at?: string): void;
    /** Marks an item as unread again, such as after the server refused the mark. */
    unmark(item: Notification): void;
    /** Forgets everything: in another epoch of the log, known seqs mean nothing. */
    forget(): void;
}
