import type { InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/** The messages between the tabs of one user. */
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
/** The connection to the other tabs. */
export interface Tabs {
    send(message: TabMessage): void;
    close(): void;
}
export interface TabEvents {
    /** This tab becomes the leader, which has the live connection. */
    lead(): void;
    /** Another tab took over: this tab has to end its connection. */
    follow(): void;
    message(message: TabMessage): void;
}
/** Reports whether the browser lets tabs share one connection. */
export declare const tabsShare: () => boolean;
/**
 * Joins the tabs of the same origin under a name. The tab that has the lock leads. The
 * browser passes the lock on when a tab closes or crashes. Without Web Locks (Node, old
 * browsers) each tab leads itself.
 *
 * A leader keeps its lock while its event loop is blocked, in a debugger or a long
 * computation, or while the browser has frozen it. So the others send it a heartbeat
 * question, which it answers from a message handler, because a hidden tab's timers run as
 * rarely as once a minute. After some silence one of them steals the lock. The former
 * leader notices when it runs again, ends its connection and queues like the others.
 */
export declare function joinTabs(name: string, events: TabEvents): Tabs;
