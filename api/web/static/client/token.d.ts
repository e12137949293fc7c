/** The claims of a token. Only the server can verify them. */
export interface TokenClaims {
    user: string;
    /** When it expires, in ms since 1970 by the issuer's clock; Infinity if it has no exp. */
    expires: number;
    /** When it was issued, by the same clock; null if it has no iat. */
    issued: number | null;
}
/** Reads a JWT without verifying it; null if it names no user. */
export declare function readToken(token: string): TokenClaims | null;
/**
 * Plans when tokens are renewed. The device's clock may be hours off, so `exp` cannot be
 * compared with it. Instead a new token is assumed to be issued just now, with a life of
 * `exp − iat`. A token from an application's cache is older than that. Its age becomes
 * known with the next token; until then it is replaced when the server refuses it.
 */
export declare class Schedule {
    #private;
    /** The estimated remaining life of the latest token when it arrived, in ms. */
    left: number;
    /** The time in ms after which this token, which getToken just returned, should be renewed. */
    next(token: string, claims: TokenClaims, now?: number): number;
    /** The pause after a failure of getToken, which counts as a renewal that gained no time. */
    failed(): number;
    private backoff;
}
