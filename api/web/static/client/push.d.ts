import { type Rest } from "./rest.js";
export interface PushOptions {
    /** The worker's script. Default: worker.js next to the page, which falconbridge's own page has. */
    serviceWorker?: string | URL;
}
/**
 * Whether this browser gets pushes while no page is open: "unsupported" by the browser or
 * without https; "denied" by the user or by policy; "off"; "on".
 */
export type PushState = "unsupported" | "denied" | "off" | "on";
/** The part of the inbox that Push uses. */
interface Host {
    user(): string;
    /** Whether the inbox has loaded that seq. */
    has(seq: number): boolean;
    /** The user clicked a notification of this inbox. */
    opened(id: number | undefined): void;
    changed(): void;
}
/** Web Push to this browser, for an inbox that was connected with push. */
export declare class Push {
    #private;
    private readonly rest;
    private readonly options;
    private readonly host;
    constructor(rest: Rest, options: PushOptions, host: Host, server: string);
    get state(): PushState;
    /** The user's client id in this browser, created at the first call. */
    clientId(name?: string): string;
    /**
     * Restores the state at the start of a page: registers again with the current token if
     * the user has pushes on, and ends those of another user, which this user must not see.
     */
    resume(): Promise<void>;
    /** Asks for permission and registers this browser. Call it when a button is pressed: browsers ask the user only then. */
    enable(): Promise<void>;
    /** Ends the pushes to this browser, both in the browser and on the server. */
    disable(): Promise<void>;
    /** Sends a test push to this browser. */
    test(): Promise<void>;
    /** Shows the number of unread ones on the application's icon, and closes shown notifications once all are read. */
    badge(unread: number): void;
    close(): void;
}
export {};
