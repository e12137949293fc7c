import { type Rest } from "./rest.js";
export interface PushOptions {
    /** The worker's script; without it worker.js below the page, which falconbridge serves with its own. */
    serviceWorker?: string | URL;
}
/**
 * Whether this browser gets a push when no page is open: "unsupported" by the browser,
 * or without https; "denied" by its user, or by policy; "off"; "on".
 */
export type PushState = "unsupported" | "denied" | "off" | "on";
/** What Push needs to know of its inbox. */
interface Host {
    user(): string;
    /** Whether the inbox is shown as of that seq, or a later one. */
    has(seq: number): boolean;
    /** A notification was clicked whose inbox is open here. */
    opened(id: number | undefined): void;
    changed(): void;
}
/** Pushes to this browser for an inbox that was connected with push. */
export declare class Push {
    #private;
    private readonly rest;
    private readonly options;
    private readonly host;
    constructor(rest: Rest, options: PushOptions, host: Host, server: string);
    get state(): PushState;
    /** The client id of this browser for the user, made the first time. */
    clientId(name?: string): string;
    /**
     * Goes on as this browser was left: registers again with the present token where the
     * user has pushes on, and ends those of another user, who is not to be shown to this
     * one.
     */
    resume(): Promise<void>;
    /** Asks for permission and registers this browser. Call it when a button is pressed: browsers ask their user only then. */
    enable(): Promise<void>;
    /** Ends the pushes to this browser, there and on the server. */
    disable(): Promise<void>;
    /** Sends one push to this browser. */
    test(): Promise<void>;
    /** Shows how many are unread on the application's icon, and takes back what is shown once all are read. */
    badge(unread: number): void;
    close(): void;
}
export {};
