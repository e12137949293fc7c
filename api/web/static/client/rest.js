import { readState } from "./state.js";
/** A failed call. status is the HTTP status, or 0 if the server was not reached. */
export class RestError extends Error {
    status;
    detail;
    retryAfter;
    name = "RestError";
    constructor(status, 
    /** The server's explanation; empty if it gave none or was not reached. */
    detail, 
    /** Retry-After in seconds; 0 if the server did not send it. */
    retryAfter = 0) {
        super(detail || (status === 0 ? "the server was not reached" : `status ${status}`));
        this.status = status;
        this.detail = detail;
        this.retryAfter = retryAfter;
    }
}
/** The REST calls of an inbox. */
export class Rest {
    token;
    refused;
    #base;
    #fetch;
    constructor(url, token, 
    /** Called when the server refuses the token; true if there is another one. */
    refused, fetcher) {
        this.token = token;
        this.refused = refused;
        this.#base = new URL(url.endsWith("/") ? url : `${url}/`);
        this.#fetch = fetcher ?? globalThis.fetch.bind(globalThis);
    }
    async #call(method, path, query = {}, body, again = true) {
        const url = new URL(path, this.#base);
        for (const [name, value] of Object.entries(query))
            if (value !== undefined)
                url.searchParams.set(name, String(value));
        const token = await this.token();
        const headers = { Authorization: `Bearer ${token}`, Accept: "application/json" };
        const lang = globalThis.document?.documentElement.lang;
        if (lang)
            headers["Accept-Language"] = lang; // the page shows the server's messages
        const init = {
            method, headers, credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(15_000),
            keepalive: method !== "GET", // a change is completed even if the tab closes at once
        };
        if (body !== undefined) {
            headers["Content-Type"] = "application/json";
            init.body = JSON.stringify(body);
        }
        let answer;
        try {
            answer = await this.#fetch(url, init);
        }
        catch {
            throw new RestError(0, (await this.#hiddenByCors()) ? corsHelp() : "");
        }
        if (answer.ok)
            return answer;
        if (answer.status === 401 && again && (await this.refused(token)))
            return this.#call(method, path, query, body, false);
        const problem = (await answer.json().catch(() => ({})));
        throw new RestError(answer.status, problem.detail ?? problem.title ?? "", Number(answer.headers.get("Retry-After")) || 0);
    }
    /**
     * Reports whether the server responds, but not to this page's origin. A browser gives a
     * script no reason for a failed request. The files under /client/ are open to every
     * origin, so if one of them can be read, the server was reached.
     */
    async #hiddenByCors() {
        if (globalThis.location === undefined || this.#base.origin === globalThis.location.origin)
            return false;
        try {
            return (await this.#fetch(new URL("client/index.js", this.#base), { method: "HEAD", credentials: "omit", signal: AbortSignal.timeout(5_000) })).ok;
        }
        catch {
            return false;
        }
    }
    async list(query) {
        const answer = await this.#call("GET", "notifications", { ...query });
        const rev = answer.headers.get("X-Rev");
        return {
            items: (await answer.json()),
            more: (answer.headers.get("Link") ?? "").includes('rel="next"'),
            lastSeq: Number(answer.headers.get("X-Last-Seq")),
            unread: Number(answer.headers.get("X-Unread-Count")),
            epoch: answer.headers.get("X-Epoch") ?? "",
            rev: rev === null ? null : Number(rev),
        };
    }
    /** The changes since a rev; null if the server does not keep changes. */
    async changes(since) {
        try {
            return readState(await (await this.#call("GET", "notifications/changes", { since })).json());
        }
        catch (error) {
            if (error instanceof RestError && (error.status === 404 || error.status === 405))
                return null;
            throw error;
        }
    }
    async read(id) {
        await this.#call("POST", `notifications/${id}/read`);
    }
    async unread(id) {
        await this.#call("POST", `notifications/${id}/unread`);
    }
    async readUpTo(seq) {
        await this.#call("POST", "notifications/read", {}, { up_to: seq });
    }
    async remove(id) {
        await this.#call("DELETE", `notifications/${id}`);
    }
    async removeRead() {
        await this.#call("DELETE", "notifications/read");
    }
    async settings() {
        const found = (await (await this.#call("GET", "settings")).json());
        return { muted: !found.is_review_enabled, kinds: found.kinds ?? {} };
    }
    async mute(muted) {
        await this.#call("PATCH", "settings", {}, { is_review_enabled: muted ? 0 : 1 });
    }
    async muteKind(kind, muted) {
        await this.#call("PATCH", "settings", {}, { kinds: { [kind]: muted ? 0 : null } });
    }
    /** The key with which a browser subscribes. */
    async pushKey() {
        return (await (await this.#call("GET", "push/key")).json()).vapid_public_key;
    }
    async putDevice(client, push) {
        await this.#call("PUT", `devices/${encodeURIComponent(client)}`, {}, { push });
    }
    async removeDevice(client) {
        await this.#call("DELETE", `devices/${encodeURIComponent(client)}`);
    }
    async testDevice(client) {
        await this.#call("POST", `devices/${encodeURIComponent(client)}/test`);
    }
}
const corsHelp = () => `the server responds, but not to this page: add ${globalThis.location.origin} to its --cors-origins`;
