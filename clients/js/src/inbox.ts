import { Emitter } from "./events.js";
import { type Live, type LiveEvents, type LiveOptions, MqttLive } from "./live.js";
import { Log } from "./log.js";
import { Rest, RestError } from "./rest.js";
import { joinTabs, type TabMessage, type Tabs } from "./tabs.js";
import { readToken } from "./token.js";
import { Tokens } from "./tokens.js";
import type { Notification } from "./types.gen.js";

/**
 * How the inbox fares: "connecting"; "live"; "polling" where MQTT is blocked and REST
 * is asked every 10 s; "away" where the server does not answer; "ended" where the
 * token is not taken and getToken has no other, or after close.
 */
export type State = "connecting" | "live" | "polling" | "away" | "ended";

export type InboxEvents = {
  /** A notification that was not there before, in seq order but for what fills a gap. */
  notification: [item: Notification];
  /** How many are unread. */
  count: [unread: number];
  state: [state: State];
  /** Seqs that did not come live. REST was asked; what exists of them follows. */
  gap: [seqs: { from: number; to: number }];
  /** What went wrong, where nobody waits for it. */
  error: [error: Error];
  /** Anything that list(), unread or muted show. */
  change: [];
};

export interface Options {
  /** Where falconbridge is, e.g. "https://falcon.example". */
  url: string;
  /** Gives a token of the user. Asked at the start, before expiry and after a refusal. */
  getToken(): string | Promise<string>;
  /** Where MQTT is; without it /mqtt below url. */
  mqttUrl?: string;
  /** The server's --topic-prefix. */
  topicPrefix?: string;
  /** False: this tab has a connection of its own. */
  shareTabs?: boolean;
  /** ms between polls where MQTT is blocked; 10,000 without it. */
  pollEvery?: number;
  /** For tests. */
  fetch?: typeof fetch;
  /** For tests. */
  live?: (options: LiveOptions, events: LiveEvents) => Live;
}

const page = 50;
const grace = 4_000; // ms without a live connection after which polling begins

/** One user's inbox. See connect. */
export class Inbox extends Emitter<InboxEvents> {
  readonly #log = new Log();
  readonly #rest: Rest;
  readonly #options: Options;
  #state: State = "connecting";
  #muted: boolean | null = null;
  #user = "";
  #live: Live | null = null; // this tab leads
  #tabs: Tabs | null = null;
  #up = false;
  #closed = false;
  #syncing: Promise<void> | null = null;
  #again = false;
  #failures = 0;
  #changes = 0;
  #quiet = false; // what the next read brings was muted, and is not news
  #told = -1;
  #poll: ReturnType<typeof setTimeout> | undefined;
  readonly #tokens: Tokens;
  readonly #hurry = () => void this.refresh();
  #cached: Notification[] | null = null;

  constructor(options: Options) {
    super();
    this.#options = options;
    this.#tokens = new Tokens(() => options.getToken(), (token) => this.#live?.renew(token), (error) => this.#fail(error));
    this.#rest = new Rest(options.url, () => this.#tokens.current(), (token) => this.#tokens.replace(token), options.fetch);
    globalThis.addEventListener?.("online", this.#hurry);
    void this.#start();
  }

  get state(): State {
    return this.#state;
  }

  get unread(): number {
    return this.#muted ? 0 : this.#log.unread;
  }

  /** Null until it is known. */
  get muted(): boolean | null {
    return this.#muted;
  }

  /** Whether older() has more. */
  get hasOlder(): boolean {
    return this.#log.more;
  }

  /** The notifications known so far, newest first; the same array until something changes. */
  list(): readonly Notification[] {
    return (this.#cached ??= this.#log.sorted());
  }

  /** Loads the next older page and returns what came. */
  async older(): Promise<Notification[]> {
    const answer = await this.#rest.list({ limit: page, before: this.#log.oldest });
    this.#log.more = answer.more;
    const added = answer.items.filter((item) => this.#log.put(item));
    this.#changed();
    return added;
  }

  /** Marks one as read. */
  async read(id: number): Promise<void> {
    const item = this.#log.byId(id);
    if (item?.read_at) return;
    this.#log.markRead(0, id);
    await this.#change(() => this.#rest.read(id), () => item && this.#log.unmark(item), { type: "read", id });
  }

  /** Marks all read that are there now. */
  async readAll(): Promise<void> {
    const before = [...this.#log.items.values()].filter((item) => !item.read_at);
    const unread = this.#log.unread;
    const seq = this.#log.head;
    this.#log.markRead(seq);
    await this.#change(() => this.#rest.readUpTo(seq), () => {
      for (const item of before) this.#log.unmark(item);
      this.#log.unread = unread;
    }, { type: "readUpTo", seq });
  }

  /** Deletes one, for all devices. */
  async remove(id: number): Promise<void> {
    const item = this.#log.byId(id);
    if (item) this.#log.remove(item.seq);
    await this.#change(() => this.#rest.remove(id), () => item && this.#log.restore(item), item ? { type: "removed", seq: item.seq } : null);
  }

  /** Mutes, or with false unmutes: muted, nothing is listed or delivered. */
  async mute(muted = true): Promise<void> {
    const was = this.#muted;
    this.#muted = muted;
    this.#quiet = true;
    await this.#change(() => this.#rest.mute(muted), () => (this.#muted = was), { type: "muted", muted });
    await this.sync();
  }

  /** Asks the server again now. */
  async refresh(): Promise<void> {
    this.#live?.hurry();
    await this.sync();
  }

  /** Ends the connection and all timers. */
  close(): void {
    if (this.#closed) return;
    this.#show("ended");
    this.#closed = true;
    this.#live?.stop();
    this.#tabs?.close();
    clearTimeout(this.#poll);
    this.#tokens.close();
    globalThis.removeEventListener?.("online", this.#hurry);
    this.clearListeners();
  }

  async #start(): Promise<void> {
    try {
      const token = await this.#tokens.current();
      if (this.#closed) return;
      this.#user = readToken(token)?.user ?? "";
      if (!this.#user) throw new Error("the token names no user");
    } catch (error) {
      this.#fail(error);
      this.#end();
      return;
    }
    const events = { lead: () => this.#lead(), follow: () => this.#follow(), message: (m: TabMessage) => this.#heard(m) };
    if (this.#options.shareTabs === false) this.#lead();
    else {
      this.#tabs = joinTabs(`falconbridge:${new URL(this.#options.url).href}:${this.#user}`, events);
      this.#tabs.send({ type: "hello" });
    }
    await this.sync();
  }

  /** Ends this tab's connection: another one took over while this one stood still. */
  #follow(): void {
    this.#live?.stop();
    this.#live = null;
    this.#heard({ type: "down" });
    this.#tabs?.send({ type: "hello" });
  }

  /** Keeps the live connection, for this tab and the others. */
  #lead(): void {
    if (this.#closed || this.#state === "ended") return;
    if (this.#up) this.#heard({ type: "down" }); // the former leader's connection is not this one's
    const { mqttUrl, url, topicPrefix = "", live } = this.#options;
    const options: LiveOptions = {
      url: mqttUrl ?? new URL("mqtt", url.endsWith("/") ? url : `${url}/`).href.replace(/^http/, "ws"),
      topic: `${topicPrefix}users/${this.#user}/reports/status`,
      token: () => this.#tokens.current(),
    };
    const tell = (m: TabMessage) => {
      this.#heard(m);
      this.#tabs?.send(m);
    };
    const events: LiveEvents = {
      up: () => tell({ type: "up" }),
      down: () => tell({ type: "down" }),
      message: (item, epoch) => tell({ type: "live", item, epoch }),
      refused: async (token) => {
        const another = await this.#tokens.replace(token);
        if (!another) this.#end();
        return another;
      },
    };
    this.#live = live ? live(options, events) : new MqttLive(options, events);
    this.#live.start();
  }

  /** From the live connection, this tab's or the leading one's, and from the other tabs. */
  #heard(m: TabMessage): void {
    if (this.#closed) return;
    switch (m.type) {
      case "hello":
        if (this.#live) this.#tabs?.send({ type: this.#up ? "up" : "down" });
        return;
      case "up":
        this.#up = true;
        void this.sync();
        return;
      case "down":
        this.#up = false;
        if (this.#state === "live") this.#show("connecting");
        this.#pollAfter(grace);
        return;
      case "live":
        return this.#arrived(m.item, m.epoch);
      case "read":
        this.#log.markRead(0, m.id);
        break;
      case "readUpTo":
        this.#log.markRead(m.seq);
        break;
      case "removed":
        this.#log.remove(m.seq);
        break;
      case "muted":
        this.#muted = m.muted;
        this.#quiet = true;
        void this.sync();
        break;
    }
    this.#changes++;
    this.#changed();
  }

  #arrived(item: Notification, epoch: string | undefined): void {
    if (this.#log.epoch !== null && epoch !== undefined && epoch !== this.#log.epoch) return void this.sync();
    const { fresh, gap } = this.#log.arrive(item);
    if (!fresh) return;
    this.#changed();
    if (gap) {
      this.emit("gap", gap);
      void this.sync();
    }
    if (this.#log.loaded && !this.#muted) this.emit("notification", item);
  }

  /** Reads what may have changed. Calls while one runs become one more run. */
  sync(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#syncing) {
      this.#again = true;
      return this.#syncing;
    }
    this.#syncing = this.#read().finally(() => {
      this.#syncing = null;
      if (!this.#again) return;
      this.#again = false;
      void this.sync();
    });
    return this.#syncing;
  }

  async #read(): Promise<void> {
    const changes = this.#changes;
    try {
      const [muted, newest] = await Promise.all([this.#rest.muted(), this.#rest.list({ limit: page })]);
      if (this.#log.epoch !== null && this.#log.epoch !== newest.epoch) this.#log.forget();
      this.#log.epoch = newest.epoch;
      const read = [...newest.items];
      let more = newest.more;
      for (let pages = 0; !this.#log.reaches(read, more); pages++) {
        if (pages === 4) {
          this.#log.items.clear(); // very far behind: the newest now, older() pages the rest
          break;
        }
        const next = await this.#rest.list({ limit: 200, before: read.at(-1)?.seq });
        read.push(...next.items);
        more = next.more;
      }
      if (this.#closed) return;
      this.#quiet ||= this.#muted === true && !muted; // unmuted elsewhere
      this.#muted = muted;
      const fresh = this.#log.join(newest, read, more);
      this.#failures = 0;
      this.#again ||= changes !== this.#changes; // something was marked meanwhile: the page may be older
      this.#changed();
      if (!muted && !this.#quiet) for (const item of fresh) this.emit("notification", item);
      if (!muted) this.#quiet = false;
      if (this.#up) return this.#show("live");
      if (this.#state !== "polling") this.#show("connecting");
      this.#pollAfter(grace);
    } catch (error) {
      if (this.#closed) return;
      this.#fail(error);
      if (error instanceof RestError && error.status === 401) return this.#end();
      this.#failures++;
      this.#show("away");
      const wait = error instanceof RestError ? error.retryAfter * 1000 : 0;
      clearTimeout(this.#poll);
      this.#poll = undefined;
      this.#pollAfter(Math.max(wait, Math.min(30_000, 1_000 * 2 ** this.#failures) * (0.5 + Math.random() / 2)));
    }
  }

  /** Polls while there is no live connection. */
  #pollAfter(wait: number): void {
    if (this.#poll !== undefined || this.#closed) return;
    this.#poll = setTimeout(async () => {
      this.#poll = undefined;
      if (this.#up && this.#state === "live") return;
      await this.sync();
      if (this.#up || this.#closed || this.#failures > 0) return;
      this.#show("polling");
      clearTimeout(this.#poll);
      this.#poll = undefined;
      this.#pollAfter((this.#options.pollEvery ?? 10_000) * (0.8 + Math.random() * 0.4));
    }, wait);
  }

  async #change(act: () => Promise<void>, undo: () => unknown, tell: TabMessage | null): Promise<void> {
    this.#changes++;
    this.#changed();
    try {
      await act();
      if (tell) this.#tabs?.send(tell);
    } catch (error) {
      if (error instanceof RestError && error.status === 404) return void this.sync(); // deleted elsewhere
      undo();
      this.#changed();
      if (error instanceof RestError && error.status === 401) this.#end();
      throw error;
    } finally {
      this.#changes++;
    }
  }

  #fail(error: unknown): void {
    this.emit("error", error instanceof Error ? error : new Error(String(error)));
  }

  #end(): void {
    if (this.#closed) return;
    this.#show("ended");
    this.#live?.stop();
    this.#tabs?.close(); // another tab, whose getToken may know more, leads
    clearTimeout(this.#poll);
    this.#tokens.close();
  }

  #show(state: State): void {
    if (this.#state === state || this.#state === "ended") return;
    this.#state = state;
    this.emit("state", state);
    this.emit("change");
  }

  #changed(): void {
    if (this.#closed) return;
    this.#cached = null;
    if (this.unread !== this.#told) {
      this.#told = this.unread;
      this.emit("count", this.unread);
    }
    this.emit("change");
  }
}
