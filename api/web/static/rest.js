// Calls of the REST API.

/** A failed call. status is the HTTP status, or 0 if the server could not be reached. */
export class RestError extends Error {
  constructor(status, detail, retryAfter) {
    super(detail || `status ${status}`);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter; // in seconds; 0 if the server did not send it
  }
}

const timeout = 15_000; // ms

export class Rest {
  #base;
  #token;

  /** base is the URL of the server's root. The pages may be below a proxy's path. */
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
    let response;
    try {
      response = await fetch(url, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        keepalive: method !== "GET", // a change is completed even if the tab closes at once
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(timeout),
      });
    } catch {
      throw new RestError(0, "", 0);
    }
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      const fields = (problem.errors ?? []).map((e) => `${e.location}: ${e.message}`);
      throw new RestError(
        response.status,
        [problem.detail ?? problem.title, ...fields].filter(Boolean).join(" · "),
        Number(response.headers.get("Retry-After")) || 0,
      );
    }
    const text = await response.text();
    return { body: text ? JSON.parse(text) : null, headers: response.headers, status: response.status };
  }

  async get(path, query) {
    return (await this.#call("GET", path, { query })).body;
  }

  /** A page of a list, and the query of the next one; null after the last. */
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

  /** Makes a change that the server may complete after its response (202). Returns false while it is not completed. */
  async finish(method, path) {
    return (await this.#call(method, path)).status !== 202;
  }

  async send(method, path, body) {
    return (await this.#call(method, path, { body })).body;
  }
}
