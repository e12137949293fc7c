import { RestError } from "./rest.js";
const fallback = new Map(); // while storage is disabled, as long as the page lives
/**
 * Reads a value of localStorage, or with value writes it and with null removes it. Stored
 * are a client id for each user, and the user who gets this browser's pushes.
 */
function storage(key, value) {
    if (value !== undefined)
        fallback.set(key, value);
    try {
        if (value === null)
            localStorage.removeItem(key);
        else if (value !== undefined)
            localStorage.setItem(key, value);
        return localStorage.getItem(key) ?? fallback.get(key) ?? null;
    }
    catch {
        return fallback.get(key) ?? null; // disabled, or full
    }
}
let policy;
/** The worker's URL as pages with Trusted Types require it, made by the policy "falconbridge". */
function trusted(url) {
    const types = globalThis.trustedTypes;
    try {
        policy ??= types?.createPolicy("falconbridge", {
            createScriptURL: (text) => {
                if (new URL(text).origin !== location.origin)
                    throw new TypeError("a worker of another origin");
                return text;
            },
        }) ?? null;
    }
    catch {
        policy = null; // the page's CSP does not allow the name: the browser may refuse the URL
    }
    return policy ? policy.createScriptURL(url.href) : url.href;
}
const bytesOf = (key) => Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const same = (a, b) => {
    const is = new Uint8Array(a ?? new ArrayBuffer(0));
    return is.length === b.length && is.every((byte, i) => byte === b[i]);
};
/** Web Push to this browser, for an inbox that was connected with push. */
export class Push {
    rest;
    options;
    host;
    #ownerKey;
    #clientKey;
    #closed = false;
    #asked = (event) => this.#answer(event);
    constructor(rest, options, host, server) {
        this.rest = rest;
        this.options = options;
        this.host = host;
        this.#ownerKey = `falconbridge.push:${server}`;
        this.#clientKey = `falconbridge.client:${server}`;
        if (!this.#supported)
            return;
        navigator.serviceWorker.addEventListener("message", this.#asked);
        navigator.serviceWorker.startMessages();
    }
    get #supported() {
        return !!globalThis.navigator?.serviceWorker && "PushManager" in globalThis && "Notification" in globalThis;
    }
    get state() {
        if (!this.#supported)
            return "unsupported";
        if (Notification.permission === "denied")
            return "denied";
        return Notification.permission === "granted" && this.#mine ? "on" : "off";
    }
    /** Whether this browser's pushes are for this user. */
    get #mine() {
        return this.host.user() !== "" && storage(this.#ownerKey) === this.host.user();
    }
    /** The user's client id in this browser, created at the first call. */
    clientId(name = "js-") {
        const key = `${this.#clientKey}:${this.host.user()}`;
        return storage(key) ?? storage(key, `${name}${crypto.randomUUID()}`);
    }
    /**
     * Restores the state at the start of a page: registers again with the current token if
     * the user has pushes on, and ends those of another user, which this user must not see.
     */
    async resume() {
        if (!this.#supported)
            return;
        if (this.state === "on") {
            return this.#subscribe().catch((error) => {
                if (!(error instanceof RestError) || error.status !== 404)
                    throw error; // Web Push is off on the server
            });
        }
        const subscription = await (await this.#registration())?.pushManager.getSubscription();
        if (!subscription || (storage(this.#ownerKey) === null && !(await this.#ours(subscription))))
            return;
        await subscription.unsubscribe(); // the push service refuses the next message, and the server forgets the endpoint
        storage(this.#ownerKey, null);
    }
    /** Whether a subscription without a stored user was made with the server's key. */
    async #ours(subscription) {
        const key = await this.rest.pushKey().catch(() => null);
        return key !== null && same(subscription.options.applicationServerKey, bytesOf(key));
    }
    /** Asks for permission and registers this browser. Call it when a button is pressed: browsers ask the user only then. */
    async enable() {
        if (!this.#supported)
            throw new Error("Web Push is not supported by this browser on this page");
        if ((await Notification.requestPermission()) !== "granted") {
            this.host.changed();
            throw new Error("notifications are not allowed");
        }
        await this.#subscribe();
    }
    async #subscribe() {
        const key = bytesOf(await this.rest.pushKey());
        const worker = await navigator.serviceWorker.register(trusted(this.#script()), { updateViaCache: "none" });
        await active(worker);
        let subscription = await worker.pushManager.getSubscription();
        if (subscription && (!same(subscription.options.applicationServerKey, key) || !this.#mine)) {
            await subscription.unsubscribe(); // made with another key or for another user
            subscription = null;
        }
        subscription ??= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
        await this.#register(subscription);
    }
    /** Ends the pushes to this browser, both in the browser and on the server. */
    async disable() {
        if (!this.#supported || !this.#mine)
            return;
        storage(this.#ownerKey, null);
        this.host.changed();
        const gone = (error) => {
            if (!(error instanceof RestError && error.status === 404))
                throw error; // 404: already removed
        };
        const unsubscribe = async () => (await (await this.#registration())?.pushManager.getSubscription())?.unsubscribe();
        await Promise.all([this.rest.removeDevice(this.clientId()).catch(gone), unsubscribe()]);
    }
    /** Sends a test push to this browser. */
    test() {
        return this.rest.testDevice(this.clientId());
    }
    /** Shows the number of unread ones on the application's icon, and closes shown notifications once all are read. */
    badge(unread) {
        if (this.#closed)
            return;
        const set = unread > 0 ? navigator.setAppBadge?.(unread) : navigator.clearAppBadge?.();
        set?.catch(() => { }); // not installed
        if (unread === 0 && this.state === "on")
            void this.#clear().catch(() => { });
    }
    close() {
        this.#closed = true;
        if (this.#supported)
            navigator.serviceWorker.removeEventListener("message", this.#asked);
    }
    async #clear() {
        const shown = await (await this.#registration())?.getNotifications();
        for (const notification of shown ?? [])
            if (notification.tag.startsWith("falconbridge-"))
                notification.close();
    }
    async #register(subscription) {
        const { endpoint, keys } = subscription.toJSON();
        await this.rest.putDevice(this.clientId(), { endpoint: endpoint, keys: { p256dh: keys["p256dh"], auth: keys["auth"] } });
        storage(this.#ownerKey, this.host.user());
        this.host.changed();
    }
    #script() {
        return new URL(this.options.serviceWorker ?? "worker.js", document.baseURI);
    }
    #registration() {
        return navigator.serviceWorker.getRegistration(new URL(".", this.#script()).href);
    }
    /** Responds to a worker that asks whether this page has a notification, or whether it can open one. */
    #answer({ data, ports }) {
        const question = data?.falconbridge;
        if (!question || this.#closed)
            return;
        const { ask, data: of } = question;
        if (of.created_by !== undefined && String(of.created_by) !== this.host.user())
            return;
        if (ask === "open")
            this.host.opened(of.id);
        else if (document.visibilityState !== "visible" || !this.host.has(of.seq ?? of.last_seq ?? Infinity))
            return;
        ports[0]?.postMessage(true);
    }
}
/** Waits until a registration has an active worker, which a subscription requires. */
function active(registration) {
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    return new Promise((done, failed) => {
        const look = () => {
            if (worker.state === "activated" || registration.active)
                done();
            else if (worker.state === "redundant")
                failed(new Error("the service worker could not be installed"));
        };
        worker.addEventListener("statechange", look);
        look();
    });
}
