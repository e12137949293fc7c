import { Inbox, type Options } from "./inbox.js";
/**
 * Opens a user's inbox: history and live notifications, merged without gaps or
 * duplicates.
 *
 *     const inbox = connect({ url: "https://falcon.example", getToken: () => session.token() });
 *     inbox.on("notification", (item) => toast(item.title));
 *     inbox.on("count", (unread) => badge.set(unread));
 */
export declare function connect(options: Options): Inbox;
export { Inbox } from "./inbox.js";
export type { InboxEvents, Options, State } from "./inbox.js";
export type { Push, PushOptions, PushState } from "./push.js";
export { RestError } from "./rest.js";
export type { InboxState, Kinds } from "./state.js";
export type * from "./types.gen.js";
