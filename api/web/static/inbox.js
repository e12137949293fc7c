// One user's inbox: history over REST and what arrives live, joined by seq without
// holes or doubles. It knows no document; the page listens to its events:
//   change            anything to show differently
//   arrival {items}   new notifications, oldest first
//   ended {expired}   the token is not taken any more
//
// Why nothing falls between history and live: the newest page is read *after* the
// subscription stands, so what the page does not hold yet comes live, and what is in
// both has the same seq. A jump in seq (missed, muted or deleted) makes it read again.

import { Live } from "./live.js";
import { RestError } from "./rest.js";

const page = 50;
const pollEvery = 10_000; // ms, while MQTT is not to be had
const grace = 4_000; // ms without a live connection after which polling begins

export class Inbox extends EventTarget {
  items = new Map(); // seq → item, what is shown
  unread = 0;
  more = false; // whether older ones can be loaded
  muted = null; // null: not known yet
  loaded = false; // whether the history was read once
  state = "connecting"; // "live", "connecting", "polling", "away", "offline", "ended"

  #rest;
  #live;
  #head = 0; // highest seq known of
  #epoch = null;
  #gaps = []; // [from, to]: jumped over live, not read yet
  #quiet = false; // what the next read brings was muted, and is not news
  #gone = new Set(); // deleted here: a redelivery does not bring them back
  #up = false; // subscribed
  #syncing = null;
  #again = false;
  #timer = null;
  #failures = 0;
  #changes = 0; // own changes so far: a page read while one was made may be older
  #closed = false;
  #tabs; // the same user's other tabs in this browser

  constructor({ token, user, topic, rest }) {
    super();
    this.#rest = rest;
    this.#tabs = new BroadcastChannel(`falconbridge:${user}`);
    this.#tabs.onmessage = () => this.sync(); // something was read, deleted or muted there
    this.#live = new Live({
      token,
      filter: topic.replace("{user}", user),
      up: () => {
        this.#up = true;
        this.sync();
      },
      down: () => {
        this.#up = false;
        if (this.state === "live") this.#show(navigator.onLine ? "connecting" : "offline");
        if (this.#timer === null) this.#later(grace);
      },
      message: (item, packet) => this.#arrived(item, packet),
      refused: () => this.#end(),
    });
  }

  start() {
    this.#live.start();
    this.sync(); // the history does not wait for the connection
  }

  close() {
    this.#closed = true;
    this.#live.stop();
    this.#tabs.close();
    clearTimeout(this.#timer);
  }

  /** Newest first. */
  sorted() {
    return [...this.items.values()].sort((a, b) => b.seq - a.seq);
  }

  /** Reads what may have changed. Calls while one runs become one more run. */
  sync() {
    if (this.#closed) return Promise.resolve();
    if (this.#syncing) {
      this.#again = true;
      return this.#syncing;
    }
    this.#syncing = this.#readAll().finally(() => {
      this.#syncing = null;
      if (this.#again) {
        this.#again = false;
        this.sync();
      }
    });
    return this.#syncing;
  }

  /** Tries everything at once: the tab is looked at again, the network is back. */
  hurry() {
    this.#live.hurry();
    this.sync();
  }

  async #readAll() {
    const changes = this.#changes;
    try {
      const [muted, newest] = await Promise.all([this.#rest.muted(), this.#rest.list({ limit: page })]);
      if (this.#closed) return;
      this.#quiet ||= Boolean(this.muted) && !muted; // unmuted elsewhere
      this.muted = muted;
      await this.#join(newest);
      if (this.#closed) return;
      this.#failures = 0;
      this.#again ||= changes !== this.#changes;
      if (this.#up) return this.#show("live");
      if (this.state !== "polling") this.#show("connecting");
      if (this.#timer === null) this.#later(grace);
    } catch (e) {
      if (!(e instanceof RestError)) throw e;
      if (e.refused) return this.#end();
      this.#failures++;
      this.#show(navigator.onLine ? "away" : "offline");
      this.#later(Math.max(e.retryAfter * 1000, Math.min(30_000, 1_000 * 2 ** this.#failures) * (0.5 + Math.random() / 2)));
    }
  }

  /** Polls while there is no live connection. */
  #later(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      this.#timer = null;
      if (this.#up && this.state === "live") return;
      await this.sync();
      if (this.#up || this.#closed || this.#failures > 0) return;
      this.#show("polling");
      this.#later(pollEvery * (0.8 + Math.random() * 0.4));
    }, after);
  }

  /** Joins the newest page to what is there. */
  async #join(newest) {
    if (this.#epoch !== null && newest.epoch !== this.#epoch) this.#forget();
    this.#epoch = newest.epoch;
    const before = this.#head;
    const read = [...newest.items];
    let more = newest.more;
    // Away for more than a page: read on until the known part is reached, or, after
    // very many, start anew with the newest; "load older" pages the rest.
    for (let pages = 0; this.loaded && more && before > 0 && read.at(-1).seq > before + 1; pages++) {
      if (pages === 4) {
        this.items.clear();
        break;
      }
      const next = await this.#rest.list({ limit: 200, before: read.at(-1).seq });
      read.push(...next.items);
      more = next.more;
    }
    const lowest = more && read.length > 0 ? read.at(-1).seq : 0;
    const highest = newest.lastSeq ?? read[0]?.seq ?? 0;
    const there = new Set(read.map((item) => item.seq));
    for (const seq of this.items.keys()) {
      if (seq >= lowest && seq <= highest && !there.has(seq)) this.items.delete(seq); // deleted elsewhere, or muted
    }
    const older = [...this.items.keys()].some((seq) => seq < lowest);
    if (!older) this.more = more;
    const news = ({ seq }) => seq > before || this.#gaps.some(([from, to]) => seq >= from && seq <= to);
    const fresh = read.filter((item) => this.#put(item) && news(item)).reverse();
    this.#gaps = [];
    this.#head = Math.max(before, highest, read[0]?.seq ?? 0);
    const late = [...this.items.values()].filter((item) => item.seq > highest && !item.read_at).length;
    this.unread = (newest.unread ?? 0) + late;
    const was = this.loaded;
    this.loaded = true;
    this.#changed();
    if (was && fresh.length > 0 && !this.#quiet) this.#announce(fresh);
    if (!this.muted) this.#quiet = false;
  }

  /** Another life of the log: the seqs known so far mean nothing (contract, section 3). */
  #forget() {
    this.items.clear();
    this.#gone.clear();
    this.#gaps = [];
    this.#head = 0;
    this.loaded = false;
  }

  /** Takes an item in; true where it was not there. Nothing that was read gets unread. */
  #put(item) {
    if (this.#gone.has(item.seq)) return false;
    const known = this.items.get(item.seq);
    this.items.set(item.seq, known?.read_at && !item.read_at ? { ...item, read_at: known.read_at } : item);
    return !known;
  }

  #arrived(item, packet) {
    const epoch = packet?.properties?.userProperties?.epoch;
    if (this.#epoch !== null && epoch && epoch !== this.#epoch) {
      this.sync();
      return;
    }
    if (!this.#put(item)) return; // a repeat
    if (!item.read_at) this.unread++;
    const jumped = this.loaded && item.seq > this.#head + 1;
    if (jumped) this.#gaps.push([this.#head + 1, item.seq - 1]);
    this.#head = Math.max(this.#head, item.seq);
    this.#changed();
    if (this.loaded) this.#announce([item]);
    if (jumped) this.sync();
  }

  /** Loads the next older page; returns how many came. */
  async older() {
    const seqs = [...this.items.keys()];
    const answer = await this.#rest.list({ limit: page, before: seqs.length ? Math.min(...seqs) : undefined });
    const added = answer.items.filter((item) => this.#put(item)).length;
    this.more = answer.more;
    this.#changed();
    return added;
  }

  async read(seq) {
    const item = this.items.get(seq);
    if (!item || item.read_at) return;
    await this.#try(() => {
      this.items.set(seq, { ...item, read_at: new Date().toISOString() });
      this.unread = Math.max(0, this.unread - 1);
      return this.#rest.read(item.id);
    }, () => {
      if (this.items.has(seq)) this.items.set(seq, item);
      this.unread++;
    });
  }

  /** Marks all read that are there now, not what arrives meanwhile. */
  async readAll() {
    const before = new Map(this.items);
    const unread = this.unread;
    const now = new Date().toISOString();
    await this.#try(() => {
      for (const [seq, item] of before) if (!item.read_at) this.items.set(seq, { ...item, read_at: now });
      this.unread = 0;
      return this.#rest.readUpTo(this.#head);
    }, () => {
      for (const [seq, item] of before) if (this.items.has(seq)) this.items.set(seq, item);
      this.unread = unread;
    });
  }

  async remove(seq) {
    const item = this.items.get(seq);
    if (!item) return;
    await this.#try(() => {
      this.items.delete(seq);
      this.#gone.add(seq);
      if (!item.read_at) this.unread = Math.max(0, this.unread - 1);
      return this.#rest.remove(item.id);
    }, (error) => {
      if (error.status === 404) return; // deleted elsewhere: as wished
      this.#gone.delete(seq);
      this.items.set(seq, item);
      if (!item.read_at) this.unread++;
    });
  }

  async mute(muted) {
    const was = this.muted;
    await this.#try(() => {
      this.muted = muted;
      this.#quiet = true;
      return this.#rest.mute(muted);
    }, () => {
      this.muted = was;
    });
    await this.sync(); // muted: nothing is listed; unmuted: all is again
  }

  /** Shows the wished state at once and takes it back where the server refuses. */
  async #try(act, undo) {
    const answer = act();
    this.#changes++;
    this.#changed();
    try {
      await answer;
      if (!this.#closed) this.#tabs.postMessage(null);
    } catch (error) {
      undo(error);
      this.#changed();
      if (error.refused) return this.#end();
      if (error.status !== 404) throw error;
      this.sync(); // deleted elsewhere meanwhile
    } finally {
      this.#changes++;
    }
  }

  #announce(items) {
    if (!this.muted) this.dispatchEvent(new CustomEvent("arrival", { detail: { items } }));
  }

  #show(state) {
    if (this.#closed || this.state === state) return;
    this.state = state;
    this.#changed();
  }

  #changed() {
    if (!this.#closed) this.dispatchEvent(new Event("change"));
  }

  #end() {
    if (this.#closed) return;
    this.state = "ended";
    this.close();
    this.dispatchEvent(new Event("ended"));
  }
}
