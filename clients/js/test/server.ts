import type { Live, LiveEvents, LiveOptions } from "../src/live.js";
import type { Notification } from "../src/index.js";

/** A token of that user, as far as a client looks; the issuer's clock is that many seconds behind this one. */
export function token(user: string | number, lifetime = 3600, behind = 0): string {
  const part = (o: unknown) => Buffer.from(JSON.stringify(o)).toString("base64url");
  const iat = Date.now() / 1000 - behind;
  return `${part({})}.${part({ sub: user, iat, exp: iat + lifetime, n: Math.random() })}.x`;
}

/** One user's log as the contract's REST side answers it, and a live side that tests drive. */
export class FakeServer {
  log: Notification[] = [];
  muted = false;
  epoch = "e1";
  away = false;
  refuse = new Set<string>();
  calls: string[] = [];
  lives: FakeLive[] = [];
  /** Runs before each answer: what happens while a request is under way. */
  meanwhile: (call: string) => void = () => {};

  append(title: string, deliver = true): Notification {
    const item: Notification = {
      id: 100 + this.log.length, seq: (this.log.at(-1)?.seq ?? 0) + 1, kind: "message", title, message: "m",
      created_by: 1, created_at: new Date().toISOString(), read_at: null,
    };
    this.log.push(item);
    if (deliver) for (const l of this.lives) if (l.up) l.events.message({ ...item }, this.epoch);
    return item;
  }

  fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    const call = `${init?.method} ${url.pathname}`;
    this.calls.push(call + url.search);
    const bearer = new Headers(init?.headers).get("Authorization")!.slice(7);
    if (this.away) throw new TypeError("away");
    if (this.refuse.has(bearer)) return Response.json({ title: "Unauthorized" }, { status: 401 });
    const answer = this.#answer(call, url.searchParams, init?.body ? JSON.parse(String(init.body)) : null);
    this.meanwhile(call);
    return answer;
  };

  #answer(call: string, q: URLSearchParams, body: { up_to?: number; is_review_enabled?: number } | null): Response {
    if (call === "GET /settings") return Response.json({ is_review_enabled: this.muted ? 0 : 1 });
    if (call === "PATCH /settings") {
      this.muted = !body!.is_review_enabled;
      return Response.json(body);
    }
    if (call === "GET /notifications") {
      const limit = Number(q.get("limit"));
      const before = Number(q.get("before") ?? Infinity);
      const all = this.muted ? [] : this.log.filter((n) => n.seq < before).reverse();
      const headers: Record<string, string> = {
        "X-Last-Seq": String(this.log.at(-1)?.seq ?? 0),
        "X-Unread-Count": String(this.log.filter((n) => !n.read_at).length),
        "X-Epoch": this.epoch,
      };
      if (all.length > limit) headers["Link"] = '<?before=1>; rel="next"';
      return Response.json(all.slice(0, limit), { headers });
    }
    if (call === "POST /notifications/read") {
      for (const n of this.log) if (n.seq <= body!.up_to!) n.read_at ??= new Date().toISOString();
      return Response.json({ unread: 0 });
    }
    const [, id, read] = /^\w+ \/notifications\/(\d+)(\/read)?$/.exec(call) ?? [];
    const found = this.log.find((n) => n.id === Number(id));
    if (!found) return Response.json({ title: "Not Found" }, { status: 404 });
    if (read) found.read_at ??= new Date().toISOString();
    else this.log = this.log.filter((n) => n !== found);
    return read ? Response.json({ unread: 0 }) : new Response(null, { status: 204 });
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
  hurry(): void {}
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
