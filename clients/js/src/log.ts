import type { Page } from "./rest.js";
import type { Notification } from "./types.gen.js";

/**
 * What is known of one user's notifications: a stretch of the log from the oldest
 * loaded one to the newest, joined by seq from history and live messages.
 */
export class Log {
  readonly items = new Map<number, Notification>();
  unread = 0;
  /** Whether older ones can be loaded. */
  more = false;
  /** Whether the history was read once. */
  loaded = false;
  /** The highest seq known of. */
  head = 0;
  epoch: string | null = null;
  readonly #gone = new Set<number>();
  #gaps: Array<{ from: number; to: number }> = []; // jumped over, not read yet

  /** Newest first. */
  sorted(): Notification[] {
    return [...this.items.values()].sort((a, b) => b.seq - a.seq);
  }

  get oldest(): number | undefined {
    return this.items.size ? Math.min(...this.items.keys()) : undefined;
  }

  byId(id: number): Notification | undefined {
    for (const item of this.items.values()) if (item.id === id) return item;
    return undefined;
  }

  /** Takes an item in; false where it was there or was deleted. What was read stays read. */
  put(item: Notification): boolean {
    if (this.#gone.has(item.seq)) return false;
    const known = this.items.get(item.seq);
    this.items.set(item.seq, known?.read_at && !item.read_at ? { ...item, read_at: known.read_at } : item);
    return !known;
  }

  /** Takes a live item in: new or a repeat, and what was jumped over before it. */
  arrive(item: Notification): { fresh: boolean; gap: { from: number; to: number } | null } {
    const from = this.head + 1;
    if (!this.put(item)) return { fresh: false, gap: null };
    if (!item.read_at) this.unread++;
    this.head = Math.max(this.head, item.seq);
    if (!this.loaded || item.seq <= from) return { fresh: true, gap: null };
    const gap = { from, to: item.seq - 1 };
    this.#gaps.push(gap);
    return { fresh: true, gap };
  }

  /** Whether the next older page is needed to reach what is known. */
  reaches(read: Notification[], more: boolean): boolean {
    const last = read.at(-1);
    return !this.loaded || !more || this.head === 0 || !last || last.seq <= this.head + 1;
  }

  /**
   * Joins the newest page, and the older ones read after it, to what is known.
   * Returns what is new, oldest first; nothing the first time.
   */
  join(newest: Page, read: Notification[], more: boolean): Notification[] {
    const before = this.head;
    const highest = Math.max(newest.lastSeq, read[0]?.seq ?? 0);
    const lowest = more ? (read.at(-1)?.seq ?? 0) : 0;
    const there = new Set(read.map((item) => item.seq));
    for (const seq of this.items.keys()) {
      if (seq >= lowest && seq <= highest && !there.has(seq)) this.items.delete(seq); // deleted elsewhere, or muted
    }
    if (this.oldest === undefined || this.oldest >= lowest) this.more = more;
    const news = ({ seq }: Notification) => seq > before || this.#gaps.some((g) => seq >= g.from && seq <= g.to);
    const fresh = read.filter((item) => this.put(item) && news(item)).reverse();
    this.#gaps = [];
    this.head = Math.max(before, highest);
    // Live ones that the page does not know of yet are not in its count.
    this.unread = newest.unread;
    for (const item of this.items.values()) if (item.seq > highest && !item.read_at) this.unread++;
    const first = !this.loaded;
    this.loaded = true;
    return first ? [] : fresh;
  }

  remove(seq: number): void {
    const item = this.items.get(seq);
    this.items.delete(seq);
    this.#gone.add(seq);
    if (item && !item.read_at) this.unread = Math.max(0, this.unread - 1);
  }

  restore(item: Notification): void {
    this.#gone.delete(item.seq);
    if (this.put(item) && !item.read_at) this.unread++;
  }

  markRead(upTo: number, only: number | null = null, at = new Date().toISOString()): void {
    for (const item of [...this.items.values()]) {
      if (item.read_at || (only === null ? item.seq > upTo : item.id !== only)) continue;
      this.items.set(item.seq, { ...item, read_at: at });
      this.unread = Math.max(0, this.unread - 1);
    }
    if (only === null && upTo >= this.head) this.unread = 0;
  }

  /** Takes the reading of an item back, after the server refused it. */
  unmark(item: Notification): void {
    if (!this.items.get(item.seq)?.read_at) return;
    this.items.set(item.seq, item);
    this.unread++;
  }

  /** Another life of the log: the seqs known so far mean nothing. */
  forget(): void {
    this.items.clear();
    this.#gone.clear();
    this.#gaps = [];
    this.head = 0;
    this.unread = 0;
    this.loaded = false;
    this.epoch = null;
  }
}
