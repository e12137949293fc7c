// The REST side, as the contract has it.

/** A refusal or a failure. status is 0 where the server could not be reached. */
export class RestError extends Error {
  constructor(status, detail, retryAfter) {
    super(detail || `status ${status}`);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter; // seconds, 0 where the server did not say
  }
}

const patience = 15_000; // ms

export class Rest {
  #base;
  #token;

  /** base is where the server's root is; the pages may lie under a proxy's path. */
  constructor(token, base = new URL(".", document.baseURI)) {
    this.#token = token;
    this.#base = base;
  }

  async #call(method, path, { query, body } = {}) {
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    const headers = { Authorization: `Bearer ${this.#token}`, Accept: "application/json", "Accept-Language": document.documentElement.lang };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(url, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        keepalive: method !== "GET", // what the user did is done even if the tab closes at once
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(patience),
      });
    } catch {
      throw new RestError(0, "", 0);
    }
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      const fields = (problem.errors ?? []).map((e) => `${e.location}: ${e.message}`);
      throw new RestError(
        answer.status,
        [problem.detail ?? problem.title, ...fields].filter(Boolean).join(" · "),
        Number(answer.headers.get("Retry-After")) || 0,
      );
    }
    const text = await answer.text();
    return { body: text ? JSON.parse(text) : null, headers: answer.headers, status: answer.status };
  }

  async get(path, query) {
    return (await this.#call("GET", path, { query })).body;
  }

  /** A page of a list, and the query of the next one, null after the last. */
  async page(path, query) {
    const { body, headers } = await this.#call("GET", path, { query });
    const next = /<([^>]*)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1];
    return { items: body, next: next ? Object.fromEntries(new URL(next, this.#base).searchParams) : null };
  }

  /** The same as get, with the server's time in ms. */
  async timed(path) {
    const { body, headers } = await this.#call("GET", path);
    return { body, now: Date.parse(headers.get("Date")) || Date.now() };
  }

  /** Does what the server may go on with after its answer (202); false where it still does. */
  async finish(method, path) {
    return (await this.#call(method, path)).status !== 202;
  }

  async send(method, path, body) {
    return (await this.#call(method, path, { body })).body;
  }
}
