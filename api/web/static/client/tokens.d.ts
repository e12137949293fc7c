/** The token in use: requested once, renewed before it expires, replaced when refused. */
export declare class Tokens {
    #private;
    private readonly get;
    /** Called with a new token that arrived in time. */
    private readonly renewed;
    private readonly failed;
    /** Called once per token when it expires soon, at that time of this clock in ms, and get has no other; with null once it has. */
    private readonly ending;
    constructor(get: () => string | Promise<string>, 
    /** Called with a new token that arrived in time. */
    renewed: (token: string) => void, failed: (error: unknown) => void, 
    /** Called once per token when it expires soon, at that time of this clock in ms, and get has no other; with null once it has. */
    ending?: (at: number | null) => void);
    current(): Promise<string>;
    /** Requests another token than the refused one; false if there is none. */
    replace(refused: string): Promise<boolean>;
    /** Requests a new token now, even after close. Rejects if getToken does, or if it has no other. */
    renew(): Promise<void>;
    close(): void;
}
