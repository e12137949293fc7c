import type { InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/** What the tabs of one user tell each other. */
export type TabMessage = {
    type: "hello";
} | {
    type: "up";
} | {
    type: "down";
} | {
    type: "live";
    item: Notification;
    epoch: string | undefined;
} | {
    type: "state";
    state: InboxState;
    epoch: string | undefined;
} | {
    type: "read";
    id: number;
} | {
    type: "unread";
    id: number;
} | {
    type: "readUpTo";
    seq: number;
} | {
    type: "removed";
    seq: number;
} | {
    type: "settings";
} | {
    type: "removedRead";
};
/** The other tabs, and whether this one leads. */
export interface Tabs {
    send(message: TabMessage): void;
    close(): void;
}
export interface TabEvents {
    /** This tab is to keep the live connection from now on. */
    lead(): void;
    /** Another tab took over: this one's connection is to end. */
    follow(): void;
    message(message: TabMessage): void;
}
/** Reports whether the browser lets tabs share one connection. */
export declare const tabsShare: () => boolean;
/**
 * Joins the tabs of the same origin under a name. One leads: whoever holds the
 * lock, which the browser passes on when a tab closes or crashes.
 * Where there are no locks (Node, old browsers), each leads itself.
 *
 * A leader whose event loop stands still, in a debugger or a long computation, or
 * that the browser froze, keeps its lock. So the others ask for a sign of life: from a
 * message handler, because a hidden tab's timers run as rarely as once a minute. After
 * some silence one of them steals the lock. The former leader learns of that when it
 * runs again, ends its connection and queues like the rest.
 */
export declare function joinTabs(name: string, events: TabEvents): Tabs;
