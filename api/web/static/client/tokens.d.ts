/** The token in use: asked for once, renewed before it ends, replaced when refused. */
export declare class Tokens {
    #private;
    private readonly get;
    /** A new one came in time. */
    private readonly renewed;
    private readonly failed;
    /** The token is about to end, at that time of this clock in ms, and there is no other. Told once a token. */
    private readonly ending;
    constructor(get: () => string | Promise<string>, 
    /** A new one came in time. */
    renewed: (token: string) => void, failed: (error: unknown) => void, 
    /** The token is about to end, at that time of this clock in ms, and there is no other. Told once a token. */
    ending?: (at: number) => void);
    current(): Promise<string>;
    /** Asks for another token than the refused one; false where there is none. */
    replace(refused: string): Promise<boolean>;
    /** Asks for a new token now, also after close. Rejects as getToken does, or where it has no other. */
    renew(): Promise<void>;
    close(): void;
}
