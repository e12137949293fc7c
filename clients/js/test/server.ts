import type { Live, LiveEvents, LiveOptions } from "../src/live.js";
import type { Notification } from "../src/index.js";
import type { InboxState } from "../src/state.js";

/** A token of that user, without a valid signature. The issuer's clock is that many seconds behind this one. */
export function token(user: string | number, lifetime = 3600, behind = 0): string {
  const part = (o: unknown) => Buffer.from(JSON.stringify(o)).toString("base64url");
  const iat = Date.now() / 1000 - behind;
  return `${part({})}.${part({ sub: user, iat, exp: iat + lifetime, n: Math.random() })}.x`;
}

/** One user's log behind a fake REST API, and a live connection that tests drive. */
export class FakeServer {
  log: Notification[] = [];
  muted = false;
  kinds: Record<string, 0 | 1> = {};
  epoch = "e1";
  rev = 0;
  /** False: a server without state messages, as before they existed. */
  states = true;
  /** False: state messages are withheld. */
  pushes = true;
  #changes: { rev: number; read_up_to?: number; read?: number; unread?: number; deleted?: number; all?: true }[] = [];
  away = false;
  refuse = new Set<string>();
  /** The status with which calls are refused. */
  readonly refuseWith = new Map<string, number>();
  calls: string[] = [];
  lives: FakeLive[] = [];
  /** Runs before each response, to simulate events during a request. */
  meanwhile: (call: string) => void = () => {};

  /** Counts a change and sends the state to the subscribers. */
  change(what: { read_up_to?: number; read?: number; unread?: number; deleted?: number; all?: true }): void {
    const before = this.rev;
    this.#changes.push({ rev: ++this.rev, ...what });
    if (this.pushes && this.states) for (const l of this.lives) if (l.up) l.events.state?.(this.state(before), this.epoch);
  }

  state(since: number): InboxState {
    const changes = this.#changes.filter((c) => c.rev > since);
    const ids = (key: "read" | "unread" | "deleted") => changes.flatMap((c) => c[key] ?? []);
    return {
      rev: this.rev, from: changes.some((c) => c.all) ? null : since, last_seq: this.log.at(-1)?.seq ?? 0,
      unread: this.log.filter((n) => !n.read_at).length, total: this.log.length, is_review_enabled: this.muted ? 0 : 1, kinds: this.kinds,
      read_up_to: Math.max(0, ...changes.map((c) => c.read_up_to ?? 0)), read: ids("read"), unread_ids: ids("unread"), deleted: ids("deleted"),
    };
  }

  append(title: string, deliver = true): Notification {
    const item: Notification = {
      id: 100 + this.log.length, seq: (this.log.at(-1)?.seq ?? 0) + 1, kind: "message", title, message: "m",
      created_by: 1, created_at: new Date().toISOString(), read_at: null,
    };
    this.log.push(item);
    if (deliver && !this.muted) for (const l of this.lives) if (l.up) l.events.message({ ...item }, this.epoch);
    return item;
  }

  fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    const call = `${init?.method} ${url.pathname}`;
    this.calls.push(call + url.search);
    const bearer = new Headers(init?.headers).get("Authorization")!.slice(7);
    if (this.away) throw new TypeError("away");
    if (this.refuse.has(bearer)) return Response.json({ title: "Unauthorized" }, { status: 401 });
    const status = this.refuseWith.get(call);
    if (status) return Response.json({ detail: "refused" }, { status });
    const answer = this.#answer(call, url.searchParams, init?.body ? JSON.parse(String(init.body)) : null);
    this.meanwhile(call);
    return answer;
  };

  #answer(call: string, q: URLSearchParams, body: { up_to?: number; is_review_enabled?: number; kinds?: Record<string, 0 | 1 | null> } | null): Response {
    if (call === "GET /settings") return Response.json({ is_review_enabled: this.muted ? 0 : 1, kinds: this.kinds });
    if (call === "PATCH /settings") {
      if (body!.is_review_enabled !== undefined) this.muted = !body!.is_review_enabled;
      for (const [kind, value] of Object.entries(body!.kinds ?? {})) {
        if (value === null) delete this.kinds[kind];
        else this.kinds[kind] = value;
      }
      this.change({ all: true });
      return Response.json({ is_review_enabled: this.muted ? 0 : 1, kinds: this.kinds });
    }
    if (call === "GET /notifications/changes" && this.states) return Response.json(this.state(Number(q.get("since"))));
    if (call === "GET /notifications") {
      const limit = Number(q.get("limit"));
      const before = Number(q.get("before") ?? Infinity);
      const hidden = (n: Notification) => q.get("muted") !== "include" && (this.muted || this.kinds[n.kind] === 0);
      const all = this.log.filter((n) => n.seq < before && !hidden(n) && !(q.has("unread") && n.read_at)).reverse();
      const headers: Record<string, string> = {
        "X-Last-Seq": String(this.log.at(-1)?.seq ?? 0),
        "X-Unread-Count": String(this.log.filter((n) => !n.read_at).length),
        "X-Epoch": this.epoch,
      };
      if (this.states) headers["X-Rev"] = String(this.rev);
      if (all.length > limit) headers["Link"] = '<?before=1>; rel="next"';
      return Response.json(all.slice(0, limit), { headers });
    }
    if (call === "POST /notifications/read") {
      this.log = this.log.map((n) => (n.seq <= body!.up_to! && !n.read_at ? { ...n, read_at: new Date().toISOString() } : n));
      this.change({ read_up_to: body!.up_to! });
      return Response.json({ unread: 0 });
    }
    if (call === "DELETE /notifications/read") {
      const read = this.log.filter((n) => n.read_at);
      this.log = this.log.filter((n) => !n.read_at);
      for (const n of read) this.change({ deleted: n.id });
      return Response.json({ deleted: read.length });
    }
    const [, id, mark] = /^\w+ \/notifications\/(\d+)(\/\w+)?$/.exec(call) ?? [];
    if (!this.log.some((n) => n.id === Number(id))) return Response.json({ title: "Not Found" }, { status: 404 });
    if (mark) this.mark(Number(id), mark === "/read");
    else this.delete(Number(id));
    return mark ? Response.json({ unread: this.log.filter((n) => !n.read_at).length }) : new Response(null, { status: 204 });
  }

  /** Marks one, as another device would. */
  mark(id: number, read: boolean): void {
    this.log = this.log.map((n) => (n.id === id ? { ...n, read_at: read ? new Date().toISOString() : null } : n));
    this.change(read ? { read: id } : { unread: id });
  }

  /** Deletes one, as another device would. */
  delete(id: number): void {
    this.log = this.log.filter((n) => n.id !== id);
    this.change({ deleted: id });
  }

  live = (options: LiveOptions, events: LiveEvents): Live => {
    const live = new FakeLive(options, events);
    this.lives.push(live);
    return live;
  };
}

export class FakeLive implements Live {
  up = false;
  blocked = false;
  stopped = false;
  renewed: string[] = [];

  constructor(
    readonly options: LiveOptions,
    readonly events: LiveEvents,
  ) {}

  start(): void {}
  retryNow(): void {}
  stop(): void {
    this.stopped = true;
    this.up = false;
  }
  renew(t: string): void {
    this.renewed.push(t);
  }
  connect(): void {
    this.up = true;
    this.events.up();
  }
  drop(): void {
    this.up = false;
    this.events.down();
  }
}
