import { type InboxState, type Kinds } from "./state.js";
import type { Notification } from "./types.gen.js";
/** A refusal or failure of the REST side. status is 0 where it was not reached. */
export declare class RestError extends Error {
    readonly status: number;
    /** The server's explanation; empty where it gave none, or was not reached. */
    readonly detail: string;
    /** Seconds the server asks to wait, 0 where it does not say. */
    readonly retryAfter: number;
    readonly name = "RestError";
    constructor(status: number, 
    /** The server's explanation; empty where it gave none, or was not reached. */
    detail: string, 
    /** Seconds the server asks to wait, 0 where it does not say. */
    retryAfter?: number);
}
/** One page of a history, with what its headers say. */
export interface Page {
    items: Notification[];
    more: boolean;
    lastSeq: number;
    unread: number;
    epoch: string;
    /** The inbox state that the page shows; null where the server does not count it. */
    rev: number | null;
}
/** What a page of the history is asked for by. */
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
/** The calls of the REST side that an inbox needs. */
export declare class Rest {
    #private;
    private readonly token;
    /** Told when the server does not take the token; true: a new one is there. */
    private readonly refused;
    constructor(url: string, token: () => Promise<string>, 
    /** Told when the server does not take the token; true: a new one is there. */
    refused: (token: string) => Promise<boolean>, fetcher?: typeof fetch);
    list(query: Query): Promise<Page>;
    /** What changed since rev; null where the server does not keep changes. */
    changes(since: number): Promise<InboxState | null>;
    read(id: number): Promise<void>;
    unread(id: number): Promise<void>;
    readUpTo(seq: number): Promise<void>;
    remove(id: number): Promise<void>;
    removeRead(): Promise<void>;
    settings(): Promise<UserSettings>;
    mute(muted: boolean): Promise<void>;
    muteKind(kind: string, muted: boolean): Promise<void>;
    /** The key that a browser subscribes with. */
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
