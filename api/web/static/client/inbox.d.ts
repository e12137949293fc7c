import { Emitter } from "./events.js";
import { type Live, type LiveEvents, type LiveOptions } from "./live.js";
import { Push, type PushOptions } from "./push.js";
import type { Kinds } from "./state.js";
import type { Notification } from "./types.gen.js";
/**
 * How the inbox fares: "connecting"; "live"; "polling" where MQTT is blocked and REST
 * is asked every 10 s; "away" where the server does not answer; "ended" where the
 * token is not taken and getToken has no other, or after close.
 */
export type State = "connecting" | "live" | "polling" | "away" | "ended";
export type InboxEvents = {
    /** A notification that was not there before, in seq order but for what fills a gap. */
    notification: [item: Notification];
    /** How many are unread. */
    count: [unread: number];
    state: [state: State];
    /** Seqs that did not come live. REST was asked; what exists of them follows. */
    gap: [seqs: {
        from: number;
        to: number;
    }];
    /** What went wrong, where nobody waits for it. */
    error: [error: Error];
    /** The server refused a change that nobody waited for, such as a deletion that could have been undone: it is taken back. An error event, too. */
    refused: [error: Error];
    /** The token ends at that time (ms of this clock, in a minute or less) and getToken has no other yet. */
    expiring: [at: number];
    /** A notification that a push showed was clicked; the inbox is focused. */
    opened: [id: number | undefined];
    /** Anything that list(), unread or muted show. */
    change: [];
};
export interface Options {
    /** Where falconbridge is, e.g. "https://falcon.example". */
    url: string;
    /** Gives a token of the user. Asked at the start, before expiry and after a refusal. */
    getToken(): string | Promise<string>;
    /** Where MQTT is; without it /mqtt below url. */
    mqttUrl?: string;
    /** The server's --topic-prefix. */
    topicPrefix?: string;
    /** The beginning of the connection's client id; "js-" without it. */
    clientName?: string;
    /** False: this tab has a connection of its own. */
    shareTabs?: boolean;
    /** Web Push to this browser, which inbox.push.enable() turns on; with an object, by the application's own worker. */
    push?: boolean | PushOptions;
    /** ms between polls where MQTT is blocked; 10,000 without it. */
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
    /** How many are unread; 0 while muted, unless showMuted was called. */
    get unread(): number;
    /** Null until it is known. */
    get muted(): boolean | null;
    /** The kinds that are muted by themselves. */
    get kinds(): Readonly<Kinds>;
    /** Whose inbox it is; empty until getToken gave a token. */
    get user(): string;
    /** What went wrong last, until the server answers again. */
    get error(): Error | null;
    /** When the token ends, in ms of this clock, while that is a minute away or less and getToken has no other; else null. */
    get expiring(): number | null;
    /** Whether the history was read. */
    get loaded(): boolean;
    /** Whether older() has more. */
    get hasOlder(): boolean;
    /** Whether olderUnread() may have more. */
    get hasOlderUnread(): boolean;
    /** The notifications known so far, newest first; the same array until something changes. */
    list(): readonly Notification[];
    /** The unread ones of them, and what olderUnread loaded; the same array until something changes. */
    unreadList(): readonly Notification[];
    /** Loads the next older page and returns what came. */
    older(): Promise<Notification[]>;
    /** Loads the next older page of unread ones and returns what came. */
    olderUnread(): Promise<Notification[]>;
    /** Marks one as read. */
    read(id: number): Promise<void>;
    /** Marks one as unread. */
    markUnread(id: number): Promise<void>;
    /** Marks all read that are there now. */
    readAll(): Promise<void>;
    /** Deletes one, for all devices. */
    remove(id: number): Promise<void>;
    /**
     * Hides one now and deletes it, for all devices, after some ms; also when the page is
     * left or the inbox closed before. The returned function takes it back and reports
     * whether it was in time. What the server refuses comes back, with an error event.
     */
    removeLater(id: number, after?: number): () => boolean;
    /** As removeLater, with all read ones. One that is marked as read meanwhile, on any device, is not among them. */
    removeReadLater(after?: number): () => boolean;
    /** Deletes all read ones, for all devices. */
    removeRead(): Promise<void>;
    /** Mutes, or with false unmutes: muted, nothing is delivered, and nothing listed unless showMuted was called. */
    mute(muted?: boolean): Promise<void>;
    /** Mutes one kind, or with false unmutes it. */
    muteKind(kind: string, muted?: boolean): Promise<void>;
    /** Also lists what mutes hide, or with false no longer. */
    showMuted(shown?: boolean): Promise<void>;
    get showsMuted(): boolean;
    /**
     * Asks getToken for a new token now. An inbox that ended because its token was not
     * taken goes on with it and keeps its list, where it is the same user's.
     */
    renew(): Promise<void>;
    /** Asks the server again now. */
    refresh(): Promise<void>;
    /** Ends the connection and all timers. */
    close(): void;
    /** Reads what may have changed. Calls while one runs become one more run, which they wait for. */
    sync(): Promise<void>;
}
