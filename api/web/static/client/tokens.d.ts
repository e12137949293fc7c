/** The token in use: asked for once, renewed before it ends, replaced when refused. */
export declare class Tokens {
    #private;
    private readonly get;
    /** A new one came in time. */
    private readonly renewed;
    private readonly failed;
    /** Called once a token when it is about to end, at that time of this clock in ms, and get has no other; with null once it has. */
    private readonly ending;
    constructor(get: () => string | Promise<string>, 
    /** A new one came in time. */
    renewed: (token: string) => void, failed: (error: unknown) => void, 
    /** Called once a token when it is about to end, at that time of this clock in ms, and get has no other; with null once it has. */
    ending?: (at: number | null) => void);
    current(): Promise<string>;
    /** Asks for another token than the refused one; false where there is none. */
    replace(refused: string): Promise<boolean>;
    /** Asks for a new token now, also after close. Rejects as getToken does, or where it has no other. */
    renew(): Promise<void>;
    close(): void;
}
