import { Emitter } from "./events.js";
import { MqttLive } from "./live.js";
import { Log } from "./log.js";
import { Push } from "./push.js";
import { Rest, RestError } from "./rest.js";
import { joinTabs, tabsShare } from "./tabs.js";
import { readToken } from "./token.js";
import { Tokens } from "./tokens.js";
const page = 50;
const grace = 4_000; // ms without a live connection after which polling begins
/** One user's inbox. See connect. */
export class Inbox extends Emitter {
    /** Web Push to this browser; null unless the inbox was connected with push. */
    push = null;
    #log = new Log();
    #rest;
    #options;
    #state = "connecting";
    #muted = null;
    #kinds = {};
    #error = null;
    #showMuted = false;
    #unreadMore = true; // olderUnread may find more
    #leaving = new Map(); // seq → what removeLater and removeReadLater hid
    #readLeaving = null; // of removeReadLater
    #expiring = null;
    #user = "";
    #live = null; // only in the leading tab
    #tabs = null;
    #up = false;
    #closed = false;
    #syncing = null;
    #next = null; // the run after #syncing
    #again = false;
    #failures = 0;
    #changes = 0;
    #quiet = false; // the next read brings formerly muted notifications, which are not news
    #counted = -1; // unread of the last count event
    #poll;
    #tokens;
    #online = () => void this.refresh();
    #leave = () => void this.#commitAll();
    #cached = null;
    #cachedUnread = null;
    #pending = 0; // own changes in progress
    #waiting = []; // arrived during those
    constructor(options) {
        super();
        this.#options = options;
        this.#tokens = new Tokens(() => options.getToken(), (token) => this.#renewed(token), (error) => this.#fail(error), (at) => this.#expires(at));
        this.#rest = new Rest(options.url, () => this.#tokens.current(), (token) => this.#tokens.replace(token), options.fetch);
        if (options.push) {
            const host = {
                user: () => this.#user,
                has: (seq) => this.#log.loaded && this.#log.head >= seq,
                opened: (id) => this.emit("opened", id),
                changed: () => this.#closed || this.emit("change"),
            };
            this.push = new Push(this.#rest, options.push === true ? {} : options.push, host, new URL(options.url).href);
        }
        globalThis.addEventListener?.("online", this.#online);
        globalThis.addEventListener?.("pagehide", this.#leave);
        void this.#start();
    }
    get state() {
        return this.#state;
    }
    /** The number of unread notifications; 0 while muted, unless showMuted was called. */
    get unread() {
        if (this.#hidden)
            return 0;
        let leaving = 0;
        for (const seq of this.#leaving.keys())
            if (this.#log.items.get(seq)?.read_at === null)
                leaving++;
        return Math.max(0, this.#log.unread - leaving);
    }
    /** Null until it is known. */
    get muted() {
        return this.#muted;
    }
    /** The kinds with a setting of their own; 0 is muted. */
    get kinds() {
        return this.#kinds;
    }
    /** The user; empty until getToken has returned a token. */
    get user() {
        return this.#user;
    }
    /** The last error, until the server responds again. */
    get error() {
        return this.#error;
    }
    /** When the token expires, in ms of this clock, if that is in a minute or less and getToken has no other; else null. */
    get expiring() {
        return this.#expiring;
    }
    /** Whether the history has been read. */
    get loaded() {
        return this.#log.loaded;
    }
    /** Whether older() has more. */
    get hasOlder() {
        return this.#log.more;
    }
    /** Whether olderUnread() may have more. */
    get hasOlderUnread() {
        return this.#unreadMore && this.unread > this.unreadList().length;
    }
    get #hidden() {
        return this.#muted === true && !this.#showMuted;
    }
    /** The notifications loaded so far, newest first. The same array until something changes. */
    list() {
        return (this.#cached ??= this.#log.sorted().filter((item) => !this.#leaving.has(item.seq)));
    }
    /** The unread ones, including those that olderUnread loaded. The same array until something changes. */
    unreadList() {
        return (this.#cachedUnread ??= this.#log.unreadItems().filter((item) => !this.#leaving.has(item.seq)));
    }
    /** Loads the next older page and returns its notifications. */
    async older() {
        const added = this.#log.append(await this.#list({ before: this.#log.floor || undefined }));
        this.#changed();
        return added;
    }
    /** Loads the next older page of unread notifications and returns them. */
    async olderUnread() {
        const answer = await this.#list({ unread: true, before: this.#log.unreadItems().at(-1)?.seq });
        this.#unreadMore = answer.more;
        const added = answer.items.filter((item) => this.#log.put(item));
        this.#changed();
        return added;
    }
    #list(query) {
        return this.#rest.list({ limit: page, ...query, muted: this.#showMuted ? "include" : undefined });
    }
    /** Marks one as read. */
    async read(id) {
        const item = this.#log.byId(id);
        if (item?.read_at)
            return;
        await this.#readLeaving?.commit(); // first, or it would delete this one, too
        this.#log.markRead(0, id);
        await this.#change(() => this.#rest.read(id), () => item && this.#log.unmark(item), { type: "read", id });
    }
    /** Marks one as unread. */
    async markUnread(id) {
        const item = this.#log.byId(id);
        if (item && !item.read_at)
            return;
        if (item)
            this.#log.unmark({ ...item, read_at: null });
        await this.#change(() => this.#rest.unread(id), () => item?.read_at && this.#log.markRead(0, id, item.read_at), { type: "unread", id });
    }
    /** Marks all current notifications as read. */
    async readAll() {
        await this.#readLeaving?.commit();
        const before = [...this.#log.items.values()].filter((item) => !item.read_at);
        const unread = this.#log.unread;
        const seq = this.#log.head;
        this.#log.markRead(seq);
        await this.#change(() => this.#rest.readUpTo(seq), () => {
            for (const item of before)
                this.#log.unmark(item);
            this.#log.unread = unread;
        }, { type: "readUpTo", seq });
    }
    /** Deletes one on all devices. */
    async remove(id) {
        const item = this.#log.byId(id);
        if (item)
            this.#log.remove(item.seq);
        await this.#change(() => this.#rest.remove(id), () => item && this.#log.restore(item), item ? { type: "removed", seq: item.seq } : null);
    }
    /**
     * Hides one now and deletes it on all devices after some ms, or earlier when the user
     * leaves the page or the inbox is closed. The returned function undoes it and returns
     * whether it was in time. If the server refuses, the notification reappears, with an
     * error event.
     */
    removeLater(id, after = 6_000) {
        const item = this.#log.byId(id);
        if (!item || this.#leaving.has(item.seq))
            return () => false;
        return this.#later([item], () => this.remove(id), after).cancel;
    }
    /** Like removeLater, for all read ones. One that is marked as read meanwhile, on any device, is not deleted. */
    removeReadLater(after = 6_000) {
        const read = this.list().filter((item) => item.read_at);
        const ids = new Set(read.map((item) => item.id));
        const act = async () => {
            if (this.list().every((item) => !item.read_at || ids.has(item.id)))
                return this.removeRead();
            for (const id of ids)
                await this.remove(id);
        };
        this.#readLeaving = this.#later(read, act, after);
        return this.#readLeaving.cancel;
    }
    #later(items, act, after) {
        let open = true;
        const take = () => {
            clearTimeout(timer);
            for (const { seq } of items)
                if (this.#leaving.get(seq) === leaving)
                    this.#leaving.delete(seq);
            if (this.#readLeaving === leaving)
                this.#readLeaving = null;
            const inTime = open;
            open = false;
            return inTime;
        };
        const leaving = {
            commit: async () => {
                if (take())
                    await act().catch((error) => this.emit("refused", this.#fail(error)));
            },
            cancel: () => {
                const inTime = take();
                if (inTime)
                    this.#changed();
                return inTime;
            },
        };
        const timer = setTimeout(() => void leaving.commit(), after);
        for (const { seq } of items)
            this.#leaving.set(seq, leaving);
        this.#changed();
        return leaving;
    }
    #commitAll() {
        const all = new Set(this.#leaving.values());
        if (this.#readLeaving)
            all.add(this.#readLeaving);
        return Promise.all([...all].map((each) => each.commit()));
    }
    /** Deletes all read ones on all devices. */
    async removeRead() {
        const read = [...this.#log.items.values()].filter((item) => item.read_at);
        for (const item of read)
            this.#log.remove(item.seq);
        await this.#change(() => this.#rest.removeRead(), () => read.forEach((item) => this.#log.restore(item)), { type: "removedRead" });
        await this.sync();
    }
    /** Mutes, or with false unmutes. While muted, nothing is delivered, and nothing is listed unless showMuted was called. */
    async mute(muted = true) {
        const was = this.#muted;
        this.#muted = muted;
        this.#quiet = true;
        await this.#change(() => this.#rest.mute(muted), () => (this.#muted = was), { type: "settings" });
        await this.#reload();
    }
    /** Mutes one kind, or with false unmutes it. */
    async muteKind(kind, muted = true) {
        const was = this.#kinds;
        const { [kind]: _, ...others } = was;
        this.#kinds = muted ? { ...others, [kind]: 0 } : others;
        this.#quiet = true;
        await this.#change(() => this.#rest.muteKind(kind, muted), () => (this.#kinds = was), { type: "settings" });
        await this.#reload();
    }
    /** Lists what mutes hide as well, or with false no longer. */
    async showMuted(shown = true) {
        if (this.#showMuted === shown)
            return;
        this.#showMuted = shown;
        this.#quiet = true;
        await this.#reload();
    }
    get showsMuted() {
        return this.#showMuted;
    }
    /** Fetches the list and replaces the known one instead of merging them. */
    #reload() {
        this.#log.stale = true;
        return this.sync();
    }
    /**
     * Asks getToken for a new token now. An inbox that ended because its token was refused
     * continues with the new one, and keeps its list if the user is the same.
     */
    async renew() {
        if (this.#closed)
            return;
        await this.#tokens.renew();
        if (this.#state !== "ended")
            return;
        this.#state = "connecting";
        this.emit("state", "connecting");
        await this.#start();
    }
    /** Calls the server now. */
    async refresh() {
        this.#live?.retryNow();
        await this.sync();
    }
    /** Ends the connection and all timers. */
    close() {
        if (this.#closed)
            return;
        void this.#commitAll();
        this.#show("ended");
        this.#closed = true;
        this.#live?.stop();
        this.#tabs?.close();
        clearTimeout(this.#poll);
        this.#tokens.close();
        this.push?.close();
        globalThis.removeEventListener?.("online", this.#online);
        globalThis.removeEventListener?.("pagehide", this.#leave);
        this.clearListeners();
    }
    async #start() {
        try {
            const token = await this.#tokens.current();
            if (this.#closed)
                return;
            const user = readToken(token)?.user ?? "";
            if (!user)
                throw new Error("getToken returned no JWT with a user in sub");
            if (this.#user && user !== this.#user)
                this.#log.forget();
            this.#user = user;
        }
        catch (error) {
            this.#fail(error);
            this.#end();
            return;
        }
        this.push?.resume().catch((error) => this.#fail(error));
        const events = { lead: () => this.#lead(), follow: () => this.#follow(), message: (m) => this.#received(m) };
        if (this.#options.shareTabs === false)
            this.#lead();
        else {
            this.#tabs = joinTabs(`falconbridge:${new URL(this.#options.url).href}:${this.#user}`, events);
            this.#tabs.send({ type: "hello" });
        }
        await this.sync();
    }
    /** Continues with a new token. The registration for pushes has to be bound to it, which the leading tab does for all. */
    #renewed(token) {
        this.#live?.renew(token);
        if (this.#live && this.push?.state === "on")
            this.push.resume().catch((error) => this.#fail(error));
    }
    /** Ends this tab's connection: another tab took over while this one was suspended. */
    #follow() {
        this.#live?.stop();
        this.#live = null;
        this.#received({ type: "down" });
        this.#tabs?.send({ type: "hello" });
    }
    /** Opens the live connection for this tab and the others. */
    #lead() {
        if (this.#closed || this.#state === "ended")
            return;
        if (this.#up)
            this.#received({ type: "down" }); // the former leader's connection is not this one's
        const { mqttUrl, url, topicPrefix = "", clientName, live } = this.#options;
        const options = {
            url: mqttUrl ?? new URL("mqtt", url.endsWith("/") ? url : `${url}/`).href.replace(/^http/, "ws"),
            topic: `${topicPrefix}users/${this.#user}/reports/status`,
            token: () => this.#tokens.current(),
            rev: () => this.#log.rev ?? 0,
            ...(clientName === undefined ? {} : { name: clientName }),
        };
        // One client id for the browser, which gets no pushes while a tab is connected. Tabs
        // that do not share a connection cannot have the same id.
        const clientId = this.#options.shareTabs !== false && tabsShare() ? this.push?.clientId(clientName) : undefined;
        if (clientId)
            options.clientId = clientId;
        const publish = (m) => {
            this.#received(m);
            this.#tabs?.send(m);
        };
        const events = {
            up: () => publish({ type: "up" }),
            down: () => publish({ type: "down" }),
            message: (item, epoch) => publish({ type: "live", item, epoch }),
            state: (state, epoch) => publish({ type: "state", state, epoch }),
            refused: async (token) => {
                const another = await this.#tokens.replace(token);
                if (!another)
                    this.#end();
                return another;
            },
        };
        this.#live = live ? live(options, events) : new MqttLive(options, events);
        this.#live.start();
    }
    /** Handles a message of the live connection, this tab's or the leader's, or of another tab. */
    #received(m) {
        if (this.#closed)
            return;
        switch (m.type) {
            case "hello":
                if (this.#live)
                    this.#tabs?.send({ type: this.#up ? "up" : "down" });
                return;
            case "up":
                this.#up = true;
                void this.sync();
                return;
            case "down":
                this.#up = false;
                if (this.#state === "live")
                    this.#show("connecting");
                this.#pollAfter(grace);
                return;
            case "live":
                return this.#arrived(m.item, m.epoch);
            case "state":
                return this.#stateCame(m.state, m.epoch);
            case "read":
                this.#log.markRead(0, m.id);
                break;
            case "unread": {
                const item = this.#log.byId(m.id);
                if (item)
                    this.#log.unmark({ ...item, read_at: null });
                break;
            }
            case "readUpTo":
                this.#log.markRead(m.seq);
                break;
            case "removed":
                this.#log.remove(m.seq);
                break;
            case "removedRead":
                for (const item of [...this.#log.items.values()])
                    if (item.read_at)
                        this.#log.remove(item.seq);
                break;
            case "settings":
                this.#quiet = true;
                void this.#reload();
                break;
        }
        this.#changes++;
        this.#changed();
    }
    #arrived(item, epoch) {
        if (this.#log.epoch !== null && epoch !== undefined && epoch !== this.#log.epoch)
            return void this.sync();
        const { fresh, gap } = this.#log.arrive(item);
        if (!fresh)
            return;
        this.#changed();
        if (gap) {
            this.emit("gap", gap);
            void this.sync();
        }
        if (this.#log.loaded && !this.#muted)
            this.emit("notification", item);
    }
    /** Applies a state message, after the list and after own changes, which its counts may not include yet. */
    #stateCame(state, epoch) {
        if (this.#log.epoch !== null && epoch !== undefined && epoch !== this.#log.epoch)
            return void this.sync();
        if (!this.#log.loaded)
            return void (this.#waiting = [state]); // the list in progress may be older
        if (this.#pending > 0)
            return void this.#waiting.push(state);
        const muted = !state.is_review_enabled;
        const settings = muted !== this.#muted || JSON.stringify(state.kinds ?? {}) !== JSON.stringify(this.#kinds);
        if (settings) {
            this.#quiet ||= this.#muted === true && !muted;
            this.#muted = muted;
            this.#kinds = state.kinds ?? {};
        }
        this.#changes++; // a page that was requested before is older
        if (!this.#log.apply(state) || settings)
            void this.#reload();
        else if (muted && this.#showMuted && state.last_seq > this.#log.head)
            void this.sync();
        this.#changed();
    }
    /** Reads what may have changed. Calls during a run share one further run and wait for it. */
    sync() {
        if (this.#closed)
            return Promise.resolve();
        if (this.#syncing) {
            return (this.#next ??= this.#syncing.then(() => {
                this.#next = null;
                return this.sync();
            }));
        }
        this.#again = false;
        this.#syncing = this.#read().finally(() => {
            this.#syncing = null;
            if (this.#again && !this.#next)
                void this.sync();
        });
        return this.#syncing;
    }
    async #read() {
        const changes = this.#changes;
        try {
            const known = this.#log.rev;
            const [{ muted, kinds }, newest] = await Promise.all([this.#rest.settings(), this.#list({})]);
            if (this.#log.epoch !== null && this.#log.epoch !== newest.epoch)
                this.#log.forget();
            this.#log.epoch = newest.epoch;
            const read = [...newest.items];
            let more = newest.more;
            for (let pages = 0; !this.#log.reaches(read, more); pages++) {
                if (pages === 4) {
                    this.#log.stale = true; // very far behind: show the newest now, older() loads the rest
                    break;
                }
                const next = await this.#list({ limit: 200, before: read.at(-1)?.seq });
                read.push(...next.items);
                more = next.more;
            }
            if (this.#closed)
                return;
            this.#quiet ||= this.#muted === true && !muted; // unmuted elsewhere
            this.#muted = muted;
            this.#kinds = kinds;
            const unmarked = changes === this.#changes;
            const whole = this.#log.stale;
            const fresh = this.#log.join(newest, read, more, unmarked);
            this.#unreadMore = true;
            this.#failures = 0;
            this.#error = null;
            this.#again ||= !unmarked; // something was marked meanwhile, so the page may be outdated
            if (known !== null && newest.rev !== null && newest.rev > known && !whole && this.#log.more)
                await this.#catchUp(known, newest.rev);
            if (this.#closed)
                return;
            this.#applyWaiting();
            this.#changed();
            if (!muted && !this.#quiet)
                for (const item of fresh)
                    this.emit("notification", item);
            if (!muted)
                this.#quiet = false;
            if (this.#up)
                return this.#show("live");
            if (this.#state !== "polling")
                this.#show("connecting");
            this.#pollAfter(grace);
        }
        catch (error) {
            if (this.#closed)
                return;
            this.#fail(error);
            if (error instanceof RestError && error.status === 401)
                return this.#end();
            this.#failures++;
            this.#show("away");
            const wait = error instanceof RestError ? error.retryAfter * 1000 : 0;
            clearTimeout(this.#poll);
            this.#poll = undefined;
            this.#pollAfter(Math.max(wait, Math.min(30_000, 1_000 * 2 ** this.#failures) * (0.5 + Math.random() / 2)));
        }
    }
    /** Applies changes of notifications older than the pages that were read. */
    async #catchUp(known, now) {
        const state = await this.#rest.changes(known);
        if (!state)
            return;
        this.#log.rev = known;
        if (!this.#log.apply(state)) {
            this.#log.rev = now;
            this.#log.stale = true;
            this.#again = true;
        }
    }
    /** Polls while there is no live connection. */
    #pollAfter(wait) {
        if (this.#poll !== undefined || this.#closed)
            return;
        this.#poll = setTimeout(async () => {
            this.#poll = undefined;
            if (this.#up && this.#state === "live")
                return;
            await this.sync();
            if (this.#up || this.#closed || this.#failures > 0)
                return;
            this.#show("polling");
            clearTimeout(this.#poll);
            this.#poll = undefined;
            this.#pollAfter((this.#options.pollEvery ?? 10_000) * (0.8 + Math.random() * 0.4));
        }, wait);
    }
    async #change(act, undo, message) {
        this.#changes++;
        this.#pending++;
        this.#changed();
        try {
            await act();
            if (message)
                this.#tabs?.send(message);
        }
        catch (error) {
            if (error instanceof RestError && error.status === 404)
                return void this.sync(); // deleted elsewhere
            undo();
            this.#changed();
            if (error instanceof RestError && error.status === 401)
                this.#end();
            throw error;
        }
        finally {
            this.#changes++;
            this.#pending--;
            this.#applyWaiting();
        }
    }
    #applyWaiting() {
        if (this.#pending === 0)
            for (const state of this.#waiting.splice(0))
                this.#stateCame(state, undefined);
    }
    #fail(error) {
        const failed = error instanceof Error ? error : new Error(String(error));
        this.#error = failed;
        this.emit("error", failed);
        this.emit("change");
        return failed;
    }
    #expires(at) {
        this.#expiring = at;
        if (at !== null)
            this.emit("expiring", at);
        this.emit("change");
    }
    #end() {
        if (this.#closed)
            return;
        this.#show("ended");
        this.#live?.stop();
        this.#live = null;
        this.#up = false;
        this.#tabs?.close(); // another tab leads, whose getToken may have a token
        clearTimeout(this.#poll);
        this.#poll = undefined;
        this.#tokens.close();
    }
    #show(state) {
        if (this.#state === state || this.#state === "ended")
            return;
        this.#state = state;
        this.emit("state", state);
        this.emit("change");
    }
    #changed() {
        if (this.#closed)
            return;
        this.#cached = null;
        this.#cachedUnread = null;
        if (this.unread !== this.#counted) {
            this.#counted = this.unread;
            this.push?.badge(this.unread);
            this.emit("count", this.unread);
        }
        this.emit("change");
    }
}
