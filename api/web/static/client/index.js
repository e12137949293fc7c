import { Inbox } from "./inbox.js";
/**
 * Opens a user's inbox: history and live notifications, merged without gaps or
 * duplicates.
 *
 *     const inbox = connect({ url: "https://falcon.example", getToken: () => session.token() });
 *     inbox.on("notification", (item) => toast(item.title));
 *     inbox.on("count", (unread) => badge.set(unread));
 */
export function connect(options) {
    return new Inbox(options);
}
export { Inbox } from "./inbox.js";
export { RestError } from "./rest.js";
