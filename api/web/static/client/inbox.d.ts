import { Emitter } from "./events.js";
import { type Live, type LiveEvents, type LiveOptions } from "./live.js";
import { Push, type PushOptions } from "./push.js";
import type { Kinds } from "./state.js";
import type { Notification } from "./types.gen.js";
/**
 * The state of the connection: "connecting"; "live"; "polling" REST every 10 s, because
 * MQTT is blocked; "away" while the server is unavailable; "ended" when the token is
 * refused and getToken has no other, or after close.
 */
export type State = "connecting" | "live" | "polling" | "away" | "ended";
export type InboxEvents = {
    /** A new notification, in order of seq except for those that fill a gap. */
    notification: [item: Notification];
    /** The number of unread notifications. */
    count: [unread: number];
    state: [state: State];
    /** Seqs that did not arrive live. They are fetched over REST; those that exist follow. */
    gap: [seqs: {
        from: number;
        to: number;
    }];
    /** An error in the background, which rejects no promise of the caller. */
    error: [error: Error];
    /** The server refused a change in the background, such as a deletion whose time for undo is over. The change is reverted. Also emitted as error. */
    refused: [error: Error];
    /** The token expires at that time (ms of this clock, in a minute or less) and getToken has no other yet. */
    expiring: [at: number];
    /** The user clicked a notification that a push showed; the page has the focus. */
    opened: [id: number | undefined];
    /** Anything changed that this object shows. */
    change: [];
};
export interface Options {
    /** The URL of falconbridge, such as "https://falcon.example". */
    url: string;
    /** Returns a token of the user. Called at the start, before expiry and after a refusal. */
    getToken(): string | Promise<string>;
    /** The URL of MQTT. Default: /mqtt below url. */
    mqttUrl?: string;
    /** The server's --topic-prefix. */
    topicPrefix?: string;
    /** The prefix of the connection's client id. Default: "js-". */
    clientName?: string;
    /** False gives this tab a connection of its own. */
    shareTabs?: boolean;
    /** Offers Web Push to this browser, which inbox.push.enable() turns on. An object names the application's own worker. */
    push?: boolean | PushOptions;
    /** Time between polls while MQTT is blocked, in ms. Default: 10,000. */
    pollEvery?: number;
    /** For tests. */
    fetch?: typeof fetch;
    /** For tests. */
    live?: (options: LiveOptions, events: LiveEvents) => Live;
}
/** One user's inbox. See connect. */
export declare class Inbox extends Emitter<InboxEvents> {
    #private;
    /** Web Push to this browser; null unless the inbox was connected with push. */
    readonly push: Push | null;
    constructor(options: Options);
    get state(): State;
    /** The number of unread notifications; 0 while muted, unless showMuted was called. */
    get unread(): number;
    /** Null until it is known. */
    get muted(): boolean | null;
    /** The kinds with a setting of their own; 0 is muted. */
    get kinds(): Readonly<Kinds>;
    /** The user; empty until getToken has returned a token. */
    get user(): string;
    /** The last error, until the server responds again. */
    get error(): Error | null;
    /** When the token expires, in ms of this clock, if that is in a minute or less and getToken has no other; else null. */
    get expiring(): number | null;
    /** Whether the history has been read. */
    get loaded(): boolean;
    /** Whether older() has more. */
    get hasOlder(): boolean;
    /** Whether olderUnread() may have more. */
    get hasOlderUnread(): boolean;
    /** The notifications loaded so far, newest first. The same array until something changes. */
    list(): readonly Notification[];
    /** The unread ones, including those that olderUnread loaded. The same array until something changes. */
    unreadList(): readonly Notification[];
    /** Loads the next older page and returns its notifications. */
    older(): Promise<Notification[]>;
    /** Loads the next older page of unread notifications and returns them. */
    olderUnread(): Promise<Notification[]>;
    /** Marks one as read. */
    read(id: number): Promise<void>;
    /** Marks one as unread. */
    markUnread(id: number): Promise<void>;
    /** Marks all current notifications as read. */
    readAll(): Promise<void>;
    /** Deletes one on all devices. */
    remove(id: number): Promise<void>;
    /**
     * Hides one now and deletes it on all devices after some ms, or earlier when the user
     * leaves the page or the inbox is closed. The returned function undoes it and returns
     * whether it was in time. If the server refuses, the notification reappears, with an
     * error event.
     */
    removeLater(id: number, after?: number): () => boolean;
    /** Like removeLater, for all read ones. One that is marked as read meanwhile, on any device, is not deleted. */
    removeReadLater(after?: number): () => boolean;
    /** Deletes all read ones on all devices. */
    removeRead(): Promise<void>;
    /** Mutes, or with false unmutes. While muted, nothing is delivered, and nothing is listed unless showMuted was called. */
    mute(muted?: boolean): Promise<void>;
    /** Mutes one kind, or with false unmutes it. */
    muteKind(kind: string, muted?: boolean): Promise<void>;
    /** Lists what mutes hide as well, or with false no longer. */
    showMuted(shown?: boolean): Promise<void>;
    get showsMuted(): boolean;
    /**
     * Asks getToken for a new token now. An inbox that ended because its token was refused
     * continues with the new one, and keeps its list if the user is the same.
     */
    renew(): Promise<void>;
    /** Calls the server now. */
    refresh(): Promise<void>;
    /** Ends the connection and all timers. */
    close(): void;
    /** Reads what may have changed. Calls during a run share one further run and wait for it. */
    sync(): Promise<void>;
}
