export type Appended = {
    id: number;
    seq: number;
};
export type Audit = {
    action: "user.erase" | "user.revoke" | "token.revoke" | "connection.end" | "report.status" | "notification.withdraw" | "history.read" | "refused";
    /** UTC, with milliseconds. */
    at: string;
    /** What else names its object: the report and its status, the revoked jti, the refused call. */
    detail?: string;
    id: number;
    /** The jti of the caller's token; null where it has none. */
    jti: string | null;
    /** The caller's address. */
    remote: string;
    /** Who: the user of the caller's token. */
    sub: number | string;
    /** The user it concerns; null where it concerns none. */
    user: number | string;
};
export type Connection = {
    client_id: string;
    /** The node it is connected to. */
    node: string;
    /** Whether it keeps its place while absent. */
    persistent: boolean;
    /** MQTT protocol level: 4 is 3.1.1. */
    protocol: 4 | 5;
    remote: string;
    /** UTC, with milliseconds. */
    since: string;
    transport: "tcp" | "tls" | "ws" | "wss";
    /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are read. */
    user: number | string;
};
export type Count = {
    /** The highest seq given, also while muted. */
    last_seq: number;
    total: number;
    unread: number;
};
export type Created = {
    id: number;
    message: string;
    seq: number;
};
export type CreatedBatch = {
    /** In the order of the request. */
    notifications: CreatedEntry[];
};
export type CreatedEntry = {
    /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are read. */
    created_by: number | string;
    id: number;
    seq: number;
};
export type Delivery = {
    acknowledged: boolean;
    /** By when; null where it is not known, or not acknowledged. */
    acknowledged_at: string | null;
    client_id: string;
};
export type Device = {
    client_id: string;
    connected: boolean;
    /** UTC, with milliseconds. */
    last_seen_at: string;
    /** Whether it is registered for Web Push. */
    push: boolean;
    /** Whether it keeps its place while absent. */
    session: boolean;
};
export type DeviceFate = {
    /** By when it was so: a cursor is stored within a second of the acknowledgement, with one time for all it passed since the time before. Of an expired session: when it acknowledged or skipped the notification, else when it ended. Null where it is not known, as for a device that is behind, or once 64 later advances are stored. */
    at: string | null;
    client_id: string;
    state: "acknowledged" | "sent" | "behind" | "skipped" | "expired session";
    /** Why it was skipped: muted, replay cap, subscribed later, too large, expired, superseded or deleted. Of an expired session: acknowledged, sent, behind or why it was skipped, and empty where it ended before the notification. Else empty. */
    why: string;
};
export type ExplainedHook = {
    /** When it was sent or given up; while it waits, when the next attempt is due. */
    at: string;
    /** The webhook-id. */
    id: string;
    state: "waiting" | "sent" | "given up";
    /** HTTP status of the last attempt, 0 without a response. */
    status: number;
    /** Attempts so far. */
    tries: number;
    when: string;
};
export type ExplainedPush = {
    /** When it was sent or given up; while it waits, when the next attempt is due. */
    at: string;
    client_id: string;
    state: "waiting" | "sent" | "given up";
    /** HTTP status of the last attempt, 0 without a response. */
    status: number;
    /** Attempts so far. */
    tries: number;
};
export type Explanation = {
    /** The caller's sub, sql for falcon_notify, import; empty where it is not known. */
    by: string;
    /** UTC, with milliseconds. */
    committed_at: string;
    /** Devices of which it is known. One that was not subscribed is not listed. */
    devices: DeviceFate[];
    id: number;
    kind: string;
    pushes: ExplainedPush[];
    seq: number;
    state: "live" | "read" | "muted" | "deleted" | "superseded" | "expired" | "retained out";
    /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are read. */
    user: number | string;
    webhooks: ExplainedHook[];
};
export type FieldProblem = {
    /** The same in one word, which does not depend on the language. */
    code: "required" | "unknown" | "invalid";
    /** Where: body.…, query.…, path.… or header.… */
    location: string;
    /** What is wrong with it. */
    message: string;
};
export type Health = {
    status: "ok" | "ready";
};
export type Late = {
    /** Given up. */
    failed: number;
    /** How long the oldest that waits has been late; 0: none. */
    oldest_seconds: number;
    sent: number;
    /** Late and not sent yet; counted up to 10,000. */
    waiting: number;
};
export type NewDevice = {
    push: Subscription;
};
export type NewNotification = {
    /** The recipient; the name is inherited. */
    created_by: number | string;
    /** Anything for the device, up to 4 KiB of compact JSON. */
    data?: Record<string, unknown>;
    /** Seconds after which it is gone: neither delivered, replayed, retained, listed nor counted. */
    expires_in?: number;
    /** What it is about; any word of the application's own. Users mute kinds one by one. */
    kind?: string;
    message: string;
    /** Supersedes the user's earlier ones with the same value: they leave history, counts, replay and the retained message. The prefix `report-` is reserved. */
    replaces?: string;
    report_id?: number;
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
    status_id?: 1 | 2 | 3;
    title: string;
    /** Where it leads: https://…, http://…, or a path that starts with one /. No backslash, no control character, no user name. */
    url?: string;
};
export type NewNotifications = {
    notifications: NewNotification[];
};
export type NewReport = {
    /** Who made the report, and is notified of its status. */
    created_by: number | string;
    /** The application's own id; left out: one is given. */
    id?: number;
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
    status_id?: 1 | 2 | 3;
    title: string;
};
export type NewRevocation = {
    /** With user: tokens issued before then, or without iat. Left out: now. At most 30 s ahead, for an issuer whose clock is ahead. */
    before?: string;
    /** With jti: the token's exp, in seconds or as in RFC 3339. The revocation is forgotten after it. Left out: after --max-token-life, or never. */
    exp?: number | string;
    /** One token, by its jti. */
    jti?: string;
    /** Whose tokens. */
    user?: number | string;
};
export type NewStatus = {
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
    status_id: 1 | 2 | 3;
};
export type Node = {
    acked: number;
    /** When the node last said that it lives. */
    beat_at: string;
    connections: number;
    copies: number;
    in_flight: number;
    node: string;
    oversize: number;
    reads: number;
    refused: number;
    sent: number;
    /** UTC, with milliseconds. */
    started_at: string;
};
export type Notification = {
    /** UTC, with milliseconds. */
    created_at: string;
    /** The recipient; the name is inherited. */
    created_by: number | string;
    /** What the application added, up to 4 KiB. */
    data?: Record<string, unknown>;
    /** From then on it is gone. Absent where it does not expire. */
    expires_at?: string;
    /** Unique over all users. */
    id: number;
    /** What it is about: message, report.status, or a word of the application's own. */
    kind: string;
    message: string;
    /** Null while unread. */
    read_at: string | null;
    /** The key under which it superseded earlier ones, and is superseded. */
    replaces?: string;
    /** Absent where it is about no report. */
    report_id?: number;
    /** Counts this user's notifications, 1, 2, 3 … A jump means muted, deleted, superseded, expired or missed. */
    seq: number;
    /** Absent where it is about no report. */
    status_id?: 1 | 2 | 3;
    title: string;
    /** Where it leads: https://…, http://…, or a path. Absent where it leads nowhere. */
    url?: string;
};
export type Problem = {
    /** What is wrong with this request. */
    detail: string;
    /** Each field that is not valid. */
    errors?: FieldProblem[];
    /** The HTTP status. */
    status: number;
    /** The kind, in words. */
    title: string;
    /** What kind of problem it is; a reference that never changes and leads to an explanation. */
    type: string;
};
export type PushKeyOutput = {
    /** The applicationServerKey that a browser subscribes with. */
    vapid_public_key: string;
};
export type ReadUpTo = {
    /** Mark those up to this seq; left out: all. */
    up_to?: number;
};
export type Report = {
    /** UTC, with milliseconds. */
    created_at: string;
    /** Who made the report, and is notified of its status. */
    created_by: number | string;
    id: number;
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
    status_id: 1 | 2 | 3;
    title: string;
    /** When the status was last changed. */
    updated_at: string;
};
export type ReportID = {
    reportId: number;
};
export type ReportStatus = {
    /** UTC, with milliseconds. */
    created_at: string;
    /** Who made the report, and is notified of its status. */
    created_by: number | string;
    id: number;
    /** Null where the report had the status already. */
    notification: Appended | null;
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
    status_id: 1 | 2 | 3;
    title: string;
    /** When the status was last changed. */
    updated_at: string;
};
export type Revocation = {
    /** With user: tokens issued before then, or without iat. Left out: now. At most 30 s ahead, for an issuer whose clock is ahead. */
    before?: string;
    /** With jti: the token's exp, as it was sent. The revocation is forgotten after it. Left out: after --max-token-life, or never. */
    exp?: number | string;
    /** One token, by its jti. */
    jti?: string;
    /** Whose tokens. */
    user?: number | string;
};
export type Session = {
    client_id: string;
    connected: boolean;
    /** When its session ends, with its place; null while it is connected. */
    expires_at: string | null;
    /** How many of its user's seqs it has not acknowledged, muted and deleted ones among them. At most 1,000 notifications are replayed. Null: it is not subscribed. */
    lag: number | null;
    /** When it was last known to be connected. */
    last_seen_at: string;
    /** The node it is connected to; empty while it is absent. */
    node: string;
    /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are read. */
    user: number | string;
};
export type Settings = {
    /** 0 mutes: notifications are stored, but neither listed nor delivered. */
    is_review_enabled: 0 | 1;
    /** 0 mutes a kind; only those that you chose something for. */
    kinds: Record<string, number>;
};
export type SettingsPatch = {
    /** 0 or 1; booleans are read too. */
    is_review_enabled?: 0 | 1 | boolean;
    /** 0, 1 or null by kind; what is left out stays, null removes. */
    kinds?: Record<string, 0 | 1 | boolean | null>;
};
export type State = {
    /** Ids of those that were deleted, superseded, expired or retained out. */
    deleted: number[];
    /** It applies to an inbox at any rev of at least this one. Null: fetch the list again. */
    from: number | null;
    is_review_enabled: 0 | 1;
    /** As in the settings. */
    kinds: Record<string, number>;
    /** The counts are as of this seq. */
    last_seq: number;
    /** Ids of those that are read. */
    read: number[];
    /** All up to this seq were read; 0: not changed. */
    read_up_to: number;
    /** Of the inbox after the change. */
    rev: number;
    total: number;
    unread: number;
    /** Ids of those that are unread. */
    unread_ids: number[];
};
export type Stats = {
    /** Of those sent acknowledged; QoS 0 never is. */
    acked: number;
    /** Open now, on all nodes, as GET /admin/connections lists them. The other figures are as of each node's last beat. */
    connections: number;
    /** Of these to other subscriptions than one to a user's own topic, such as an operator's. */
    copies: number;
    /** The life of the log: it changes when the database was restored to an earlier point. */
    epoch: string;
    /** Sent to users' own devices and not acknowledged now. */
    in_flight: number;
    nodes: Node[];
    /** Left out: over the device's Maximum Packet Size. */
    oversize: number;
    /** Web Push and webhooks, where either is on. */
    push?: Late;
    /** Reads of the log. */
    reads: number;
    /** Connects of devices that were refused. */
    refused: number;
    /** Messages sent since each node's start: one a notification and subscription. */
    sent: number;
    version: string;
    webhooks?: Late;
};
export type Subscription = {
    /** Where the push service takes messages; https only. */
    endpoint: string;
    keys: SubscriptionKeys;
};
export type SubscriptionKeys = {
    /** The device's authentication secret, base64url. */
    auth: string;
    /** The device's public key, base64url. */
    p256dh: string;
};
export type Unread = {
    /** How many stay unread. */
    unread: number;
};
export type Withdrawn = {
    /** How many the key stood for: 0 or 1. */
    deleted: number;
};
export type LiveNotification = {
    /** Unique over all users. */
    id: number;
    /** Counts this user's notifications. */
    seq: number;
    /** What it is about: message, report.status, or a word of the application's own. */
    kind: string;
    title: string;
    message: string;
    created_by: LiveUserId;
    /** UTC, with milliseconds. */
    created_at: string;
    /** Null while unread. */
    read_at: string | null;
    /** Absent where it is about no report. */
    report_id?: number;
    /** 1 Pendiente, 2 Aprobado, 3 Rechazado. Absent where it is about no report. */
    status_id?: 1 | 2 | 3;
    /** Where it leads: https://…, http://…, or a path that starts with one /. Absent where it leads nowhere. */
    url?: string;
    /** The key under which it superseded the user's earlier ones, and is superseded. */
    replaces?: string;
    /** From then on it is neither delivered nor listed. MQTT 5 has the remaining life as Message Expiry Interval. */
    expires_at?: string;
    /** What the application added, up to 4 KiB. */
    data?: Record<string, unknown>;
};
/** What changed of an inbox. It applies at any rev of at least from, in the order read_up_to, read, unread_ids, deleted; applied twice it gives the same. Ids that the device does not have are passed over. */
export type LiveState = {
    /** Counts the changes of the inbox; the inbox is at this one afterwards. */
    rev: number;
    /** The rev that it applies to, and to later ones. Null: fetch the list again. */
    from: number | null;
    /** The counts are as of this seq: what comes later is not in them. */
    last_seq: number;
    unread: number;
    total: number;
    /** 0: all is muted. */
    is_review_enabled: 0 | 1;
    /** Settings of single kinds: 0 mutes. */
    kinds: Record<string, 0 | 1>;
    /** All notifications up to this seq were read; 0 where that did not change. */
    read_up_to: number;
    /** Ids that are read. */
    read: number[];
    /** Ids that are unread again. */
    unread_ids: number[];
    /** Ids that are gone: deleted, superseded, expired or retained out. */
    deleted: number[];
};
/** MQTT 5 user properties of a state message. */
export type LiveStateProperties = {
    /** Distinguishes a state message from a notification, which has none. */
    type: "state";
    /** The life of the log, as of a notification. */
    epoch: string;
};
/** A user id. A decimal without leading zeros up to 2^53-1 is a number, any other a string. */
export type LiveUserId = number | string;
/** MQTT 5 user properties. MQTT 3.1.1 has none; id, seq and kind stand in the payload as well. */
export type LiveUserProperties = {
    /** The notification's id, unique over all users. */
    id: string;
    /** Counts the user's notifications from 1, without holes. */
    seq: string;
    /** What it is about: message, report.status, or a word of the application's own. */
    kind: string;
    /** The life of the log. When it changes the database was restored to an earlier point, and known seqs mean nothing. */
    epoch: string;
    /** Of live deliveries whose POST brought one, or while the server traces: what the device does goes on in that trace (W3C Trace Context). */
    traceparent?: string;
};
