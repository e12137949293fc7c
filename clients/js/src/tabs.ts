import type { Notification } from "./types.gen.js";

/** What the tabs of one user tell each other. */
export type TabMessage =
  | { type: "hello" }
  | { type: "up" }
  | { type: "down" }
  | { type: "live"; item: Notification; epoch: string | undefined }
  | { type: "read"; id: number }
  | { type: "readUpTo"; seq: number }
  | { type: "removed"; seq: number }
  | { type: "muted"; muted: boolean };

/** The other tabs, and whether this one leads. */
export interface Tabs {
  send(message: TabMessage): void;
  close(): void;
}

export interface TabEvents {
  /** This tab is to keep the live connection from now on. */
  lead(): void;
  message(message: TabMessage): void;
}

/**
 * Joins the tabs of the same origin under a name. One leads: whoever holds the
 * lock, which the browser passes on when a tab closes or crashes.
 * Where there are no locks (Node, old browsers), each leads itself.
 */
export function joinTabs(name: string, events: TabEvents): Tabs {
  const locks = globalThis.navigator?.locks;
  if (!locks || typeof BroadcastChannel === "undefined") {
    queueMicrotask(() => events.lead());
    return { send() {}, close() {} };
  }
  const channel = new BroadcastChannel(name);
  channel.onmessage = (e: MessageEvent<TabMessage>) => events.message(e.data);
  const given = new AbortController();
  let release = () => {};
  let closed = false;
  locks
    .request(name, { signal: given.signal }, () => {
      if (closed) return undefined;
      events.lead();
      return new Promise<void>((done) => (release = done));
    })
    .catch(() => {}); // given up before it was our turn
  return {
    send: (message) => {
      if (!closed) channel.postMessage(message);
    },
    close: () => {
      closed = true;
      given.abort();
      release();
      channel.close();
    },
  };
}
