/** What a token says of its bearer. Whether it is genuine is for the server to say. */
export interface TokenClaims {
  user: string;
  /** When it ends, in ms since 1970. */
  expires: number;
}

/** Reads a JWT without verifying it; null where it names no user. */
export function readToken(token: string): TokenClaims | null {
  try {
    const part = token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; exp?: unknown };
    if (typeof claims.sub !== "string" && typeof claims.sub !== "number") return null;
    return { user: String(claims.sub), expires: Number(claims.exp) * 1000 };
  } catch {
    return null;
  }
}

/**
 * How long, in ms, until a token should be renewed: a minute before it ends, or a
 * tenth of what it has left where that is less. At most a day, so that no
 * timer overflows; whoever waits asks again then.
 */
export function renewIn(expires: number, now = Date.now()): number {
  const left = Number.isFinite(expires) ? expires - now : Infinity;
  return Math.min(86_400_000, Math.max(1_000, left - Math.min(60_000, left / 10)));
}
