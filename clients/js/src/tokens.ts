import { readToken, Schedule } from "./token.js";

/** The token in use: asked for once, renewed before it ends, replaced when refused. */
export class Tokens {
  #token: string | null = null;
  #asking: Promise<string> | null = null; // of several callers, one asks
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  readonly #schedule = new Schedule();

  constructor(
    private readonly get: () => string | Promise<string>,
    /** A new one came in time. */
    private readonly renewed: (token: string) => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  async current(): Promise<string> {
    return this.#token ?? this.#ask();
  }

  /** Asks for another token than the refused one; false where there is none. */
  async replace(refused: string): Promise<boolean> {
    if (this.#closed) return false;
    if (this.#token === refused) this.#token = null;
    try {
      return (await this.current()) !== refused;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #ask(): Promise<string> {
    this.#asking ??= Promise.resolve()
      .then(() => this.get())
      .then((token) => {
        if (typeof token !== "string" || token === "") throw new Error("getToken gave no token");
        this.#token = token;
        const claims = readToken(token);
        if (claims) this.#renewAfter(this.#schedule.next(token, claims));
        return token;
      })
      .finally(() => (this.#asking = null));
    return this.#asking;
  }

  #renewAfter(wait: number): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#renew(), wait);
    (this.#timer as { unref?: () => void }).unref?.(); // Node may end before a token does
  }

  /** Asks for the next token; the present one stays in use until it came. */
  async #renew(): Promise<void> {
    const old = this.#token;
    try {
      const next = await this.#ask();
      if (old !== null && next !== old && readToken(next)?.user === readToken(old)?.user) this.renewed(next);
    } catch (error) {
      if (this.#closed) return;
      this.failed(error);
      this.#renewAfter(this.#schedule.failed());
    }
  }
}
