import type { Notification, Settings } from "./types.gen.js";

/** A refusal or failure of the REST side. status is 0 where it was not reached. */
export class RestError extends Error {
  override readonly name = "RestError";

  constructor(
    readonly status: number,
    detail: string,
    /** Seconds the server asks to wait, 0 where it does not say. */
    readonly retryAfter = 0,
  ) {
    super(detail || (status === 0 ? "the server was not reached" : `status ${status}`));
  }
}

/** One page of a history, with what its headers say. */
export interface Page {
  items: Notification[];
  more: boolean;
  lastSeq: number;
  unread: number;
  epoch: string;
}

/** The calls of the REST side that an inbox needs. */
export class Rest {
  readonly #base: URL;
  readonly #fetch: typeof fetch;

  constructor(
    url: string,
    private readonly token: () => Promise<string>,
    /** Told when the server does not take the token; true: a new one is there. */
    private readonly refused: (token: string) => Promise<boolean>,
    fetcher?: typeof fetch,
  ) {
    this.#base = new URL(url.endsWith("/") ? url : `${url}/`);
    this.#fetch = fetcher ?? globalThis.fetch.bind(globalThis);
  }

  async #call(method: string, path: string, query: Record<string, unknown> = {}, body?: unknown, again = true): Promise<Response> {
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    const token = await this.token();
    const headers: Record<string, string> = { Authorization: `Bearer ${token}`, Accept: "application/json" };
    const init: RequestInit = { method, headers, credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(15_000) };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    let answer: Response;
    try {
      answer = await this.#fetch(url, init);
    } catch {
      throw new RestError(0, "");
    }
    if (answer.ok) return answer;
    if (answer.status === 401 && again && (await this.refused(token))) return this.#call(method, path, query, body, false);
    const problem = (await answer.json().catch(() => ({}))) as { title?: string; detail?: string };
    throw new RestError(answer.status, problem.detail ?? problem.title ?? "", Number(answer.headers.get("Retry-After")) || 0);
  }

  async list(query: { limit?: number; before?: number | undefined; after?: number | undefined }): Promise<Page> {
    const answer = await this.#call("GET", "notifications", query);
    return {
      items: (await answer.json()) as Notification[],
      more: (answer.headers.get("Link") ?? "").includes('rel="next"'),
      lastSeq: Number(answer.headers.get("X-Last-Seq")),
      unread: Number(answer.headers.get("X-Unread-Count")),
      epoch: answer.headers.get("X-Epoch") ?? "",
    };
  }

  async read(id: number): Promise<void> {
    await this.#call("POST", `notifications/${id}/read`);
  }

  async readUpTo(seq: number): Promise<void> {
    await this.#call("POST", "notifications/read", {}, { up_to: seq });
  }

  async remove(id: number): Promise<void> {
    await this.#call("DELETE", `notifications/${id}`);
  }

  async muted(): Promise<boolean> {
    return !((await (await this.#call("GET", "settings")).json()) as Settings).is_review_enabled;
  }

  async mute(muted: boolean): Promise<void> {
    await this.#call("PATCH", "settings", {}, { is_review_enabled: muted ? 0 : 1 });
  }
}
