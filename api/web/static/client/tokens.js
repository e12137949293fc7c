import { readToken, Schedule } from "./token.js";
/** The token in use: requested once, renewed before it expires, replaced when refused. */
export class Tokens {
    get;
    renewed;
    failed;
    ending;
    #token = null;
    #asking = null; // shared by concurrent callers
    #timer;
    #closed = false;
    #schedule = new Schedule();
    #ends = Infinity; // ms by this clock
    #warned = "";
    constructor(get, 
    /** Called with a new token that arrived in time. */
    renewed, failed, 
    /** Called once per token when it expires soon, at that time of this clock in ms, and get has no other; with null once it has. */
    ending = () => { }) {
        this.get = get;
        this.renewed = renewed;
        this.failed = failed;
        this.ending = ending;
    }
    async current() {
        return this.#token ?? this.#ask();
    }
    /** Requests another token than the refused one; false if there is none. */
    async replace(refused) {
        if (this.#closed)
            return false;
        if (this.#token === refused)
            this.#token = null;
        try {
            return (await this.current()) !== refused;
        }
        catch {
            return false;
        }
    }
    /** Requests a new token now, even after close. Rejects if getToken does, or if it has no other. */
    async renew() {
        this.#closed = false;
        const old = this.#token;
        const next = await this.#ask();
        if (old === next)
            throw new Error("getToken gave the same token again");
        if (old !== null && readToken(next)?.user === readToken(old)?.user)
            this.renewed(next);
    }
    close() {
        this.#closed = true;
        clearTimeout(this.#timer);
    }
    #ask() {
        this.#asking ??= Promise.resolve()
            .then(() => this.get())
            .then((token) => {
            if (typeof token !== "string" || token === "")
                throw new Error("getToken returned no token");
            this.#token = token;
            if (this.#warned && this.#warned !== token) {
                this.#warned = "";
                this.ending(null);
            }
            const claims = readToken(token);
            if (claims) {
                this.#renewAfter(this.#schedule.next(token, claims));
                this.#ends = Date.now() + this.#schedule.left;
            }
            return token;
        })
            .finally(() => (this.#asking = null));
        return this.#asking;
    }
    #renewAfter(wait) {
        clearTimeout(this.#timer);
        if (this.#closed)
            return;
        this.#timer = setTimeout(() => void this.#renew(), wait);
        this.#timer.unref?.(); // the timer must not keep Node running
    }
    /** Requests the next token. The current one stays in use until then. */
    async #renew() {
        const old = this.#token;
        try {
            const next = await this.#ask();
            if (old === next)
                this.#warn(next);
            else if (old !== null && readToken(next)?.user === readToken(old)?.user)
                this.renewed(next);
        }
        catch (error) {
            if (this.#closed)
                return;
            this.failed(error);
            if (old !== null)
                this.#warn(old);
            this.#renewAfter(this.#schedule.failed());
        }
    }
    #warn(token) {
        if (this.#closed || this.#warned === token || !Number.isFinite(this.#ends))
            return;
        if (this.#ends - Date.now() > 90_000)
            return; // the daily renewal, long before it expires
        this.#warned = token;
        this.ending(this.#ends);
    }
}
