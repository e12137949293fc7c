/**
 * The known part of one user's notifications: a section of the log from the oldest loaded
 * one to the newest, merged by seq from history and live messages.
 */
export class Log {
    items = new Map();
    unread = 0;
    /** Whether older ones can be loaded. */
    more = false;
    /** Whether the history has been read. */
    loaded = false;
    /** The highest known seq. */
    head = 0;
    epoch = null;
    /** The known rev of the inbox; null if the server does not count revs. */
    rev = null;
    /** From this seq on the list has no gaps. Older unread ones may be known for unreadItems. */
    floor = 0;
    /** The next page replaces everything known, as after an unmute or very many changes. */
    stale = false;
    #counted = 0; // the highest seq that unread covers
    #settled = 0; // the highest seq covered by a list
    #gone = new Set();
    #gaps = []; // missed live, not read yet
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
     * Adds an item; false if it was known or deleted. A known one is replaced only by a newer
     * version: a redelivery, or a page that was requested before a mark, would undo the mark.
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
     * Adds a live item. Returns whether it is new, and the gap before it. An item that is
     * missing from a list which covers its seq was deleted.
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
    /** Adds the next older page. Returns the new items. */
    append(page) {
        this.more = page.more;
        this.floor = page.more ? (page.items.at(-1)?.seq ?? this.floor) : 0;
        return page.items.filter((item) => this.put(item));
    }
    /**
     * Applies changes from any device. False if the list has to be fetched again, because it
     * is older than the changes or the server says so.
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
    /** Sets the server's count as of a seq and adds later live items. */
    #count(unread, lastSeq) {
        this.unread = unread;
        for (const item of this.items.values())
            if (item.seq > lastSeq && !item.read_at)
                this.unread++;
        this.#counted = Math.max(this.head, lastSeq);
    }
    /** Whether the pages read so far reach the known items, so that no older one is needed. */
    reaches(read, more) {
        const last = read.at(-1);
        return !this.loaded || !more || this.head === 0 || !last || last.seq <= this.head + 1;
    }
    /**
     * Merges the newest page, and older ones read after it, with the known items. newer:
     * nothing was marked here since they were requested. Returns the new items, oldest
     * first; none the first time.
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
    /** Marks an item as unread again, such as after the server refused the mark. */
    unmark(item) {
        if (!this.items.get(item.seq)?.read_at)
            return;
        this.items.set(item.seq, item);
        this.unread++;
    }
    /** Forgets everything: in another epoch of the log, known seqs mean nothing. */
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
