import { readState } from "./state.js";
/** Reason codes of a refused token. */
const refusals = new Set([0x86, 0x87, 0x8c]);
const firstPause = 1_000; // ms
const lastPause = 30_000;
const authTimeout = 5_000;
const week = 7 * 24 * 3_600; // s
const takenOver = 0x8e;
const text = new TextDecoder();
function clientId(name = "js-") {
    const bytes = crypto.getRandomValues(new Uint8Array(9));
    return `${name}${Array.from(bytes, (b) => b.toString(36).padStart(2, "0")).join("")}`;
}
/** A connection of mqtt.js, whose own reconnecting is off, because it does not renew tokens or vary its pauses. */
export class MqttLive {
    options;
    events;
    #id;
    #client = null;
    #opening = false;
    #token = ""; // of the last CONNECT or AUTH
    #retry;
    #renewal; // the timeout of the AUTH in progress
    #attempt = 0;
    #stopped = true;
    constructor(options, events) {
        this.options = options;
        this.events = events;
        this.#id = options.clientId ?? clientId(options.name);
    }
    start() {
        this.#stopped = false;
        this.#attempt = 0;
        void this.#open();
    }
    stop() {
        this.#stopped = true;
        clearTimeout(this.#retry);
        this.#drop();
    }
    retryNow() {
        if (this.#stopped || this.#client || this.#opening)
            return;
        clearTimeout(this.#retry);
        this.#attempt = 0;
        void this.#open();
    }
    /** Renews in place with AUTH (0x19), or reconnects if there is no response to it. */
    renew(token) {
        const client = this.#client;
        if (!client?.connected)
            return;
        this.#token = token;
        // mqtt.js has no public call for re-authentication.
        const raw = client;
        clearTimeout(this.#renewal);
        this.#renewal = setTimeout(() => this.#reconnect(), raw._sendPacket ? authTimeout : 0);
        raw._sendPacket?.({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod: "jwt", authenticationData: token } });
    }
    /** Ends this connection and opens another at once. */
    #reconnect() {
        this.#drop();
        this.events.down();
        this.#attempt = 0;
        void this.#open();
    }
    async #open() {
        this.#opening = true;
        try {
            const [{ default: mqtt }, token] = await Promise.all([import("./vendor/mqtt-5.16.0/mqtt.esm.js"), this.options.token()]);
            if (!this.#stopped && !this.#client)
                this.#connect(mqtt.connect, token);
        }
        catch {
            this.#failed();
        }
        finally {
            this.#opening = false;
        }
    }
    #connect(connect, token) {
        const client = connect(this.options.url, {
            protocolVersion: 5,
            clientId: this.#id,
            clean: this.options.clientId === undefined,
            keepalive: 45, // under the 60 s after which many proxies close an idle socket
            connectTimeout: 10_000,
            reconnectPeriod: 0,
            resubscribe: false,
            // The default is a worker from a blob, which default-src 'self' forbids. Browsers
            // throttle only timers that were started by timers, five deep (Chromium's intensive
            // throttling, to one per minute). Each PINGRESP starts this one from a network event.
            timerVariant: "native",
            properties: {
                authenticationMethod: "jwt", authenticationData: token,
                ...(this.options.clientId === undefined ? {} : { sessionExpiryInterval: week }),
            },
        });
        this.#client = client;
        this.#token = token;
        const refuse = (code) => {
            if (client !== this.#client || !refusals.has(code))
                return;
            const refused = this.#token;
            this.#drop();
            this.events.down();
            void this.events.refused(refused).then((another) => {
                if (this.#stopped)
                    return;
                if (!another)
                    this.stop();
                else if (this.#attempt++ === 0)
                    void this.#open();
                else
                    this.#openLater(); // each token is refused: no faster than after other failures
            });
        };
        client.on("packetreceive", (packet) => {
            if (packet.cmd === "auth" && packet.reasonCode === 0 && client === this.#client)
                clearTimeout(this.#renewal);
        });
        client.on("error", (e) => refuse(e.code ?? 0));
        client.on("disconnect", (packet) => {
            // Another client has this id, such as one in a copy of the browser's profile. Two that
            // reconnect at once would disconnect each other forever.
            if (packet.reasonCode === takenOver)
                this.#attempt = 5;
            refuse(packet.reasonCode ?? 0);
        });
        client.on("close", () => client === this.#client && this.#failed());
        client.on("message", (_topic, payload, packet) => {
            if (client !== this.#client)
                return;
            const properties = packet.properties?.userProperties;
            const epoch = typeof properties?.["epoch"] === "string" ? properties["epoch"] : undefined;
            const body = parse(payload);
            if (properties?.["type"] === "state") {
                const state = readState(body);
                if (state)
                    this.events.state?.(state, epoch);
                return;
            }
            if (Number.isSafeInteger(body?.seq))
                this.events.message(body, epoch);
        });
        client.on("connect", () => {
            // Retain handling 2: the history comes from REST.
            const { topic, rev } = this.options;
            const asked = rev ? { qos: 1, rh: 2, properties: { userProperties: { state: String(rev()) } } } : { qos: 1, rh: 2 };
            client.subscribe(topic, asked, (error, granted) => {
                if (client !== this.#client)
                    return;
                const code = error?.packet?.granted?.[0] ?? granted?.[0]?.qos ?? 0x80;
                if (refusals.has(code))
                    return refuse(code);
                if (error || code > 2)
                    return this.#failed();
                this.#attempt = 0;
                this.events.up();
            });
        });
    }
    #failed() {
        this.#drop();
        if (this.#stopped)
            return;
        this.#openLater();
        this.events.down();
    }
    #openLater() {
        // With jitter, so that not all clients reconnect at the same moment after a restart.
        const most = Math.min(lastPause, firstPause * 2 ** this.#attempt++);
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => void this.#open(), most / 4 + Math.random() * most * 0.75);
    }
    #drop() {
        const client = this.#client;
        this.#client = null;
        clearTimeout(this.#renewal);
        client?.end(true);
        client?.on("error", () => { }); // an error after the end does not matter
    }
}
function parse(payload) {
    try {
        return JSON.parse(text.decode(payload));
    }
    catch {
        return null;
    }
}
