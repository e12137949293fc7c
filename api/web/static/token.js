// The token: where it comes from and where it is stored.
//
// It arrives in the fragment, which browsers never send, or is pasted. It is stored in
// sessionStorage, so that a reload keeps it and closing the tab removes it. It is
// never put in a query, in a cookie or in storage that outlives the tab.

import { load, save } from "./storage.js";

const key = "falconbridge.token";

/** Removes the token, if there is one, from the address bar and the tab's history, and returns it. */
export function takeFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
  return token.trim() || null;
}

/** The tab's token, or null. */
export const stored = () => load(key);

/** Stores the tab's token; null removes it. */
export const store = (token) => save(key, token);

const userID = /^[A-Za-z0-9._:@|-]{1,128}$/; // as on the server; other text could be mistaken for the page's own

/**
* The token's claims: {user, expires (ms), scopes}. Null if it is not a token. This
* only reads them; the server verifies the token.
 */
export function read(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    const user = claims.sub;
    if ((typeof user !== "string" && typeof user !== "number") || !userID.test(user)) return null;
    const scopes = Array.isArray(claims.scope) ? claims.scope : String(claims.scope ?? "").split(" ");
    return { user: String(user), expires: claims.exp * 1000, scopes: scopes.filter(Boolean) };
  } catch {
    return null;
  }
}
