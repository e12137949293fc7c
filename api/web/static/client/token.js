/** Reads a JWT without verifying it; null where it names no user. */
export function readToken(token) {
    try {
        const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
        const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
        const claims = JSON.parse(new TextDecoder().decode(bytes));
        if (typeof claims.sub !== "string" && typeof claims.sub !== "number")
            return null;
        return {
            user: String(claims.sub),
            expires: typeof claims.exp === "number" ? claims.exp * 1000 : Infinity,
            issued: typeof claims.iat === "number" ? claims.iat * 1000 : null,
        };
    }
    catch {
        return null;
    }
}
const floor = 1_000; // ms, the least between two renewals
const longestBackoff = 300_000;
/**
 * Plans when tokens are renewed. The device's clock may be hours off, so that `exp`
 * cannot be compared with it: a new token counts as issued just now, which makes its
 * life `exp − iat`. A token from an application's cache is older than that; its age
 * shows as soon as another token was seen, and until then it is replaced at the
 * server's refusal.
 */
export class Schedule {
    #token = "";
    #offsets = [Infinity, Infinity]; // of the last two tokens, how far this clock was past their iat
    #fruitless = 0; // renewals in a row that brought no time
    /** ms that the latest token had left when it came, as far as can be known. */
    left = Infinity;
    /** How long, in ms, until this token, which getToken gave just now, should be renewed. */
    next(token, claims, now = Date.now()) {
        const repeated = token === this.#token;
        this.#token = token;
        let left = claims.expires - now;
        if (claims.issued !== null) {
            if (!repeated)
                this.#offsets = [now - claims.issued, this.#offsets[0]];
            left += Math.min(...this.#offsets); // the clock's error: fresh tokens are all equally far from it
        }
        this.left = left;
        // A minute before the end, or a tenth of what is left where that is less, but two
        // seconds at least: iat is in whole seconds, so a token issued late in its second
        // ends up to a second before exp − iat is over. At most a day, so that no timer
        // overflows; the token is asked for again then.
        const wait = Math.min(86_400_000, left - Math.min(60_000, Math.max(2_000, left / 10)));
        this.#fruitless = repeated || wait < floor ? this.#fruitless + 1 : 0;
        return Math.max(wait, this.backoff());
    }
    /** How long to wait after getToken failed, which counts as a renewal that brought no time. */
    failed() {
        this.#fruitless++;
        return this.backoff();
    }
    backoff() {
        return Math.min(longestBackoff, floor * 2 ** Math.max(0, this.#fruitless - 1));
    }
}
