/** Reads a JWT without verifying it; null if it names no user. */
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
const floor = 1_000; // ms, the shortest time between two renewals
const longestBackoff = 300_000;
/**
 * Plans when tokens are renewed. The device's clock may be hours off, so `exp` cannot be
 * compared with it. Instead a new token is assumed to be issued just now, with a life of
 * `exp − iat`. A token from an application's cache is older than that. Its age becomes
 * known with the next token; until then it is replaced when the server refuses it.
 */
export class Schedule {
    #token = "";
    #offsets = [Infinity, Infinity]; // this clock minus iat, of the last two tokens
    #fruitless = 0; // renewals in a row that gained no time
    /** The estimated remaining life of the latest token when it arrived, in ms. */
    left = Infinity;
    /** The time in ms after which this token, which getToken just returned, should be renewed. */
    next(token, claims, now = Date.now()) {
        const repeated = token === this.#token;
        this.#token = token;
        let left = claims.expires - now;
        if (claims.issued !== null) {
            if (!repeated)
                this.#offsets = [now - claims.issued, this.#offsets[0]];
            left += Math.min(...this.#offsets); // the clock's error, which is the same for all fresh tokens
        }
        this.left = left;
        // A minute before the end, or a tenth of the remaining life if that is less, but at
        // least two seconds: iat is in whole seconds, so a token issued late in its second
        // expires up to a second before exp − iat is over. At most a day, so that no timer
        // overflows; getToken is then called again.
        const wait = Math.min(86_400_000, left - Math.min(60_000, Math.max(2_000, left / 10)));
        this.#fruitless = repeated || wait < floor ? this.#fruitless + 1 : 0;
        return Math.max(wait, this.backoff());
    }
    /** The pause after a failure of getToken, which counts as a renewal that gained no time. */
    failed() {
        this.#fruitless++;
        return this.backoff();
    }
    backoff() {
        return Math.min(longestBackoff, floor * 2 ** Math.max(0, this.#fruitless - 1));
    }
}
