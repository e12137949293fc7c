/**
 * What is known of one user's notifications: a stretch of the log from the oldest
 * loaded one to the newest, joined by seq from history and live messages.
 */
export class Log {
    items = new Map();
    unread = 0;
    /** Whether older ones can be loaded. */
    more = false;
    /** Whether the history was read once. */
    loaded = false;
    /** The highest seq known of. */
    head = 0;
    epoch = null;
    /** The inbox state that is known; null where the server does not count it. */
    rev = null;
    /** From this seq on the list has no hole. Older unread ones may be there for unreadItems. */
    floor = 0;
    /** The page that stands in for everything known: an unmute, or more changes than are told one by one. */
    stale = false;
    #counted = 0; // the highest seq that unread covers
    #settled = 0; // the list was read up to this seq
    #gone = new Set();
    #gaps = []; // jumped over, not read yet
    /** Newest first. */
    sorted() {
        return this.#newestFirst((item) => item.seq >= this.floor);
    }
    /** The unread ones, newest first, below the floor as well. */
    unreadItems() {
        return this.#newestFirst((item) => !item.read_at);
    }
    #newestFirst(wanted) {
        return [...this.items.values()].filter(wanted).sort((a, b) => b.seq - a.seq);
    }
    byId(id) {
        for (const item of this.items.values())
            if (item.id === id)
                return item;
        return undefined;
    }
    /**
     * Takes an item in; false where it was there or was deleted. One that is known is
     * replaced only where the other is the newer: a redelivery or a page that was asked
     * for before a mark would undo it.
     */
    put(item, newer = false) {
        if (this.#gone.has(item.seq))
            return false;
        const known = this.items.has(item.seq);
        if (!known || newer)
            this.items.set(item.seq, item);
        return !known;
    }
    /**
     * Takes a live item in: new or a repeat, and what was jumped over before it. One that a
     * list passed over which was read since it was sent is gone.
     */
    arrive(item) {
        if (item.seq <= this.#settled)
            return { fresh: false, gap: null };
        const from = this.head + 1;
        if (!this.put(item))
            return { fresh: false, gap: null };
        if (!item.read_at && item.seq > this.#counted)
            this.unread++;
        this.#counted = Math.max(this.#counted, item.seq);
        this.head = Math.max(this.head, item.seq);
        if (!this.loaded || item.seq <= from)
            return { fresh: true, gap: null };
        const gap = { from, to: item.seq - 1 };
        this.#gaps.push(gap);
        return { fresh: true, gap };
    }
    /** Takes the next older page in. Returns what is new. */
    append(page) {
        this.more = page.more;
        this.floor = page.more ? (page.items.at(-1)?.seq ?? this.floor) : 0;
        return page.items.filter((item) => this.put(item));
    }
    /**
     * Applies what changed elsewhere, or here. False where the list must be fetched again:
     * it is older than the change begins, or the server says so.
     */
    apply(state) {
        if (this.rev !== null && state.rev <= this.rev)
            return true; // known already
        if (state.from === null || this.rev === null || state.from > this.rev)
            return false;
        this.markRead(state.read_up_to);
        for (const id of state.read)
            this.markRead(0, id);
        for (const id of state.unread_ids) {
            const item = this.byId(id);
            if (item)
                this.unmark({ ...item, read_at: null });
        }
        for (const id of state.deleted) {
            const item = this.byId(id);
            if (item)
                this.remove(item.seq);
        }
        this.#count(state.unread, state.last_seq);
        this.rev = state.rev;
        return true;
    }
    /** Takes the server's count as of a seq; live ones after it are not in it. */
    #count(unread, lastSeq) {
        this.unread = unread;
        for (const item of this.items.values())
            if (item.seq > lastSeq && !item.read_at)
                this.unread++;
        this.#counted = Math.max(this.head, lastSeq);
    }
    /** Whether the next older page is needed to reach what is known. */
    reaches(read, more) {
        const last = read.at(-1);
        return !this.loaded || !more || this.head === 0 || !last || last.seq <= this.head + 1;
    }
    /**
     * Joins the newest page, and the older ones read after it, to what is known. newer:
     * nothing was marked here since they were asked for. Returns what is new, oldest
     * first; nothing the first time.
     */
    join(newest, read, more, newer) {
        const before = this.head;
        const highest = Math.max(newest.lastSeq, read[0]?.seq ?? 0);
        const lowest = more ? (read.at(-1)?.seq ?? 0) : 0;
        const there = new Set(read.map((item) => item.seq));
        for (const seq of this.items.keys()) {
            // Deleted elsewhere, or muted.
            if (seq <= highest && !there.has(seq) && (seq >= lowest || this.stale))
                this.items.delete(seq);
        }
        if (!this.loaded || this.stale || this.floor >= lowest) {
            this.more = more;
            this.floor = lowest;
        }
        this.stale = false;
        const news = ({ seq }) => seq > before || this.#gaps.some((g) => seq >= g.from && seq <= g.to);
        const fresh = read.filter((item) => this.put(item, newer) && news(item)).reverse();
        this.#gaps = [];
        this.head = Math.max(before, highest);
        this.#settled = Math.max(this.#settled, highest);
        this.#count(newest.unread, highest);
        if (newest.rev !== null)
            this.rev = Math.max(this.rev ?? 0, newest.rev);
        const first = !this.loaded;
        this.loaded = true;
        return first ? [] : fresh;
    }
    remove(seq) {
        const item = this.items.get(seq);
        this.items.delete(seq);
        this.#gone.add(seq);
        if (item && !item.read_at)
            this.unread = Math.max(0, this.unread - 1);
    }
    restore(item) {
        this.#gone.delete(item.seq);
        if (this.put(item) && !item.read_at)
            this.unread++;
    }
    markRead(upTo, only = null, at = new Date().toISOString()) {
        for (const item of [...this.items.values()]) {
            if (item.read_at || (only === null ? item.seq > upTo : item.id !== only))
                continue;
            this.items.set(item.seq, { ...item, read_at: at });
            this.unread = Math.max(0, this.unread - 1);
        }
        if (only === null && upTo >= this.head)
            this.unread = 0;
    }
    /** Takes the reading of an item back, after the server refused it. */
    unmark(item) {
        if (!this.items.get(item.seq)?.read_at)
            return;
        this.items.set(item.seq, item);
        this.unread++;
    }
    /** Another life of the log: the seqs known so far mean nothing. */
    forget() {
        this.items.clear();
        this.#gone.clear();
        this.#gaps = [];
        this.head = 0;
        this.unread = 0;
        this.rev = null;
        this.floor = 0;
        this.#counted = 0;
        this.#settled = 0;
        this.loaded = false;
        this.epoch = null;
    }
}
