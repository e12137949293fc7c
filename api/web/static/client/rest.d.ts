import { type InboxState, type Kinds } from "./state.js";
import type { Notification } from "./types.gen.js";
/** A failed call. status is the HTTP status, or 0 if the server was not reached. */
export declare class RestError extends Error {
    readonly status: number;
    /** The server's explanation; empty if it gave none or was not reached. */
    readonly detail: string;
    /** Retry-After in seconds; 0 if the server did not send it. */
    readonly retryAfter: number;
    readonly name = "RestError";
    constructor(status: number, 
    /** The server's explanation; empty if it gave none or was not reached. */
    detail: string, 
    /** Retry-After in seconds; 0 if the server did not send it. */
    retryAfter?: number);
}
/** One page of the history, with the values of its headers. */
export interface Page {
    items: Notification[];
    more: boolean;
    lastSeq: number;
    unread: number;
    epoch: string;
    /** The rev of the inbox that the page shows; null if the server does not count revs. */
    rev: number | null;
}
/** The query of a page of the history. */
export interface Query {
    limit?: number;
    before?: number | undefined;
    after?: number | undefined;
    unread?: boolean | undefined;
    /** "include" also lists what mutes hide. */
    muted?: "include" | undefined;
}
/** The user's settings. */
export interface UserSettings {
    muted: boolean;
    kinds: Kinds;
}
/** The REST calls of an inbox. */
export declare class Rest {
    #private;
    private readonly token;
    /** Called when the server refuses the token; true if there is another one. */
    private readonly refused;
    constructor(url: string, token: () => Promise<string>, 
    /** Called when the server refuses the token; true if there is another one. */
    refused: (token: string) => Promise<boolean>, fetcher?: typeof fetch);
    list(query: Query): Promise<Page>;
    /** The changes since a rev; null if the server does not keep changes. */
    changes(since: number): Promise<InboxState | null>;
    read(id: number): Promise<void>;
    unread(id: number): Promise<void>;
    readUpTo(seq: number): Promise<void>;
    remove(id: number): Promise<void>;
    removeRead(): Promise<void>;
    settings(): Promise<UserSettings>;
    mute(muted: boolean): Promise<void>;
    muteKind(kind: string, muted: boolean): Promise<void>;
    /** The key with which a browser subscribes. */
    pushKey(): Promise<string>;
    putDevice(client: string, push: {
        endpoint: string;
        keys: {
            p256dh: string;
            auth: string;
        };
    }): Promise<void>;
    removeDevice(client: string): Promise<void>;
    testDevice(client: string): Promise<void>;
}
