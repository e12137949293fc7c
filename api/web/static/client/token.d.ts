/** What a token says of its bearer. Whether it is genuine is for the server to say. */
export interface TokenClaims {
    user: string;
    /** When it ends, in ms since 1970 by the issuer's clock; Infinity where it does not say. */
    expires: number;
    /** When it was issued, by the same clock; null where it does not say. */
    issued: number | null;
}
/** Reads a JWT without verifying it; null where it names no user. */
export declare function readToken(token: string): TokenClaims | null;
/**
 * Plans when tokens are renewed. The device's clock may be hours off, so that `exp`
 * cannot be compared with it: a new token counts as issued just now, which makes its
 * life `exp − iat`. A token from an application's cache is older than that; its age
 * shows as soon as another token was seen, and until then it is replaced at the
 * server's refusal.
 */
export declare class Schedule {
    #private;
    /** ms that the latest token had left when it came, as far as can be known. */
    left: number;
    /** How long, in ms, until this token, which getToken gave just now, should be renewed. */
    next(token: string, claims: TokenClaims, now?: number): number;
    /** How long to wait after getToken failed, which counts as a renewal that brought no time. */
    failed(): number;
    private backoff;
}
