import { readToken, renewIn } from "./token.js";

/** The token in use: asked for once, renewed before it ends, replaced when refused. */
export class Tokens {
  #token: Promise<string> | null = null;
  #value: string | null = null; // what #token became
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(
    private readonly get: () => string | Promise<string>,
    /** A new one came in time. */
    private readonly renewed: (token: string) => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  current(): Promise<string> {
    if (this.#token) return this.#token;
    const asked = Promise.resolve()
      .then(() => this.get())
      .then((token) => {
        if (typeof token !== "string" || token === "") throw new Error("getToken gave no token");
        this.#value = token;
        this.#plan(token);
        return token;
      });
    this.#token = asked;
    asked.catch(() => {
      if (this.#token === asked) this.#token = null; // asked again next time
    });
    return asked;
  }

  /** Asks for another token than the refused one; false where there is none. */
  async replace(refused: string): Promise<boolean> {
    if (this.#closed) return false;
    if (this.#value === refused) this.#forget(); // of several calls that were refused, one asks
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

  #forget(): void {
    this.#token = null;
    this.#value = null;
  }

  #plan(token: string): void {
    clearTimeout(this.#timer);
    const claims = readToken(token);
    if (!claims || this.#closed) return;
    this.#timer = setTimeout(() => void this.#renew(token), renewIn(claims.expires));
    (this.#timer as { unref?: () => void }).unref?.(); // Node may end before a token does
  }

  async #renew(old: string): Promise<void> {
    this.#forget();
    try {
      const next = await this.current();
      if (next !== old && readToken(next)?.user === readToken(old)?.user) this.renewed(next);
    } catch (error) {
      this.failed(error);
    }
  }
}
