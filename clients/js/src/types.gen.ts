// Written by scripts/generate.mjs from the OpenAPI and AsyncAPI documents. Do not edit.

// REST

export type Appended = {
  id: number;
  seq: number;
};

export type Audit = {
  action: "user.erase" | "user.revoke" | "token.revoke" | "connection.end" | "report.status" | "notification.withdraw" | "history.read" | "refused";
  /** UTC, with milliseconds. */
  at: string;
  /** Further details: the report and its status, the revoked jti, or the refused call. */
  detail?: string;
  id: number;
  /** The jti of the caller's token; null if it has none. */
  jti: string | null;
  /** The caller's address. */
  remote: string;
  /** The user of the caller's token. */
  sub: number | string;
  /** The user concerned; null if there is none. */
  user: number | string;
};

export type Connection = {
  client_id: string;
  /** The node it is connected to. */
  node: string;
  /** Whether it has a session that keeps its cursor while it is absent. */
  persistent: boolean;
  /** MQTT protocol level: 4 is 3.1.1. */
  protocol: 4 | 5;
  remote: string;
  /** UTC, with milliseconds. */
  since: string;
  transport: "tcp" | "tls" | "ws" | "wss";
  /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are accepted. */
  user: number | string;
};

export type Count = {
  /** The highest seq assigned, also while muted. */
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
  /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are accepted. */
  created_by: number | string;
  id: number;
  seq: number;
};

export type Delivery = {
  acknowledged: boolean;
  /** Acknowledged by this time; null if unknown or not acknowledged. */
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
  /** Whether it has a session that keeps its cursor while it is absent. */
  session: boolean;
};

export type DeviceFate = {
  /** The state was reached by this time: a cursor is stored within a second of the acknowledgement, with one time for everything passed since the previous one. For an expired session, when it acknowledged or skipped the notification, otherwise when it ended. Null if unknown, as for a device that is behind, or after 64 later advances. */
  at: string | null;
  client_id: string;
  state: "acknowledged" | "sent" | "behind" | "skipped" | "expired session";
  /** Why it was skipped: muted, replay cap, subscribed later, too large, expired, superseded or deleted. For an expired session: acknowledged, sent, behind or why it was skipped; empty if it ended before the notification. Otherwise empty. */
  why: string;
};

export type ExplainedHook = {
  /** When it was sent or given up; while it is waiting, when the next attempt is due. */
  at: string;
  /** The webhook-id. */
  id: string;
  state: "waiting" | "sent" | "given up";
  /** The HTTP status of the last attempt; 0 without a response. */
  status: number;
  /** The number of attempts so far. */
  tries: number;
  when: string;
};

export type ExplainedPush = {
  /** When it was sent or given up; while it is waiting, when the next attempt is due. */
  at: string;
  client_id: string;
  state: "waiting" | "sent" | "given up";
  /** The HTTP status of the last attempt; 0 without a response. */
  status: number;
  /** The number of attempts so far. */
  tries: number;
};

export type Explanation = {
  /** The caller's sub, sql for falcon_notify, or import; empty if unknown. */
  by: string;
  /** UTC, with milliseconds. */
  committed_at: string;
  /** The known devices. One that was not subscribed is not listed. */
  devices: DeviceFate[];
  id: number;
  kind: string;
  pushes: ExplainedPush[];
  seq: number;
  state: "live" | "read" | "muted" | "deleted" | "superseded" | "expired" | "retained out";
  /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are accepted. */
  user: number | string;
  webhooks: ExplainedHook[];
};

export type FieldProblem = {
  /** The fault in one word that does not depend on the language. */
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
  /** For how long the oldest waiting one has been due; 0: none. */
  oldest_seconds: number;
  sent: number;
  /** Due and not sent yet; counted up to 10,000. */
  waiting: number;
};

export type NewDevice = {
  push: Subscription;
};

export type NewNotification = {
  /** The recipient; named created_by for compatibility. */
  created_by: number | string;
  /** Anything for the device, up to 4 KiB of compact JSON. */
  data?: Record<string, unknown>;
  /** Seconds after which it expires: it is then neither delivered, replayed, retained, listed nor counted. */
  expires_in?: number;
  /** What it is about, as a word that the application chooses. Users mute kinds one by one. */
  kind?: string;
  message: string;
  /** Supersedes the user's earlier ones with the same value: they leave history, counts, replay and the retained message. The prefix `report-` is reserved. */
  replaces?: string;
  report_id?: number;
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
  status_id?: 1 | 2 | 3;
  title: string;
  /** Where it leads: https://…, http://…, or a path that starts with a single /. No backslash, control character or user name. */
  url?: string;
};

export type NewNotifications = {
  notifications: NewNotification[];
};

export type NewReport = {
  /** The user who made the report and is notified of its status. */
  created_by: number | string;
  /** The application's own id. Default: the server assigns one. */
  id?: number;
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
  status_id?: 1 | 2 | 3;
  title: string;
};

export type NewRevocation = {
  /** With user: revokes tokens issued before this time or without iat. Default: now. At most 30 s in the future, for an issuer whose clock is ahead. */
  before?: string;
  /** With jti: the token's exp, in seconds or as in RFC 3339, after which the revocation is forgotten. Default: after --max-token-life, or never. */
  exp?: number | string;
  /** The jti of one token. */
  jti?: string;
  /** The user whose tokens are revoked. */
  user?: number | string;
};

export type NewStatus = {
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
  status_id: 1 | 2 | 3;
};

export type Node = {
  acked: number;
  /** When the node last sent a heartbeat. */
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
  /** The recipient; named created_by for compatibility. */
  created_by: number | string;
  /** Data of the application, up to 4 KiB. */
  data?: Record<string, unknown>;
  /** When it expires. Absent if it does not. */
  expires_at?: string;
  /** Unique across all users. */
  id: number;
  /** What it is about: message, report.status, or a word that the application chooses. */
  kind: string;
  message: string;
  /** Null while unread. */
  read_at: string | null;
  /** The key under which it superseded earlier notifications and may be superseded. */
  replaces?: string;
  /** Absent if it is not about a report. */
  report_id?: number;
  /** Counts this user's notifications: 1, 2, 3 … A gap means muted, deleted, superseded, expired or missed. */
  seq: number;
  /** Absent if it is not about a report. */
  status_id?: 1 | 2 | 3;
  title: string;
  /** Where it leads: https://…, http://…, or a path. Absent if it leads nowhere. */
  url?: string;
};

export type Problem = {
  /** What is wrong with this request. */
  detail: string;
  /** The invalid fields. */
  errors?: FieldProblem[];
  /** The HTTP status. */
  status: number;
  /** The kind of problem, in words. */
  title: string;
  /** The kind of problem, as a reference that never changes and leads to an explanation. */
  type: string;
};

export type PushKeyOutput = {
  /** The applicationServerKey with which a browser subscribes. */
  vapid_public_key: string;
};

export type ReadUpTo = {
  /** Mark those up to this seq. Default: all. */
  up_to?: number;
};

export type Report = {
  /** UTC, with milliseconds. */
  created_at: string;
  /** The user who made the report and is notified of its status. */
  created_by: number | string;
  id: number;
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
  status_id: 1 | 2 | 3;
  title: string;
  /** When the status last changed. */
  updated_at: string;
};

export type ReportID = {
  reportId: number;
};

export type ReportStatus = {
  /** UTC, with milliseconds. */
  created_at: string;
  /** The user who made the report and is notified of its status. */
  created_by: number | string;
  id: number;
  /** Null if the report already had the status. */
  notification: Appended | null;
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. */
  status_id: 1 | 2 | 3;
  title: string;
  /** When the status last changed. */
  updated_at: string;
};

export type Revocation = {
  /** With user: revokes tokens issued before this time or without iat. Default: now. At most 30 s in the future, for an issuer whose clock is ahead. */
  before?: string;
  /** With jti: the token's exp, as it was sent, after which the revocation is forgotten. Default: after --max-token-life, or never. */
  exp?: number | string;
  /** The jti of one token. */
  jti?: string;
  /** The user whose tokens are revoked. */
  user?: number | string;
};

export type Session = {
  client_id: string;
  connected: boolean;
  /** When its session and cursor expire; null while it is connected. */
  expires_at: string | null;
  /** The number of its user's seqs that it has not acknowledged, including muted and deleted ones. At most 1,000 notifications are replayed. Null: it is not subscribed. */
  lag: number | null;
  /** When it was last known to be connected. */
  last_seen_at: string;
  /** The node it is connected to; empty while it is absent. */
  node: string;
  /** A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are accepted. */
  user: number | string;
};

export type Settings = {
  /** 0 mutes: notifications are stored, but neither listed nor delivered. */
  is_review_enabled: 0 | 1;
  /** 0 mutes a kind. Lists only kinds with a setting of their own. */
  kinds: Record<string, number>;
};

export type SettingsPatch = {
  /** 0 or 1; booleans are accepted as well. */
  is_review_enabled?: 0 | 1 | boolean;
  /** 0, 1 or null by kind. Omitted kinds stay as they are, null removes one. */
  kinds?: Record<string, 0 | 1 | boolean | null>;
};

export type State = {
  /** Ids that were deleted, superseded, expired or retained out. */
  deleted: number[];
  /** The change applies to an inbox at any rev of at least this one. Null: fetch the list again. */
  from: number | null;
  is_review_enabled: 0 | 1;
  /** As in the settings. */
  kinds: Record<string, number>;
  /** The counts are as of this seq. */
  last_seq: number;
  /** Ids that are read. */
  read: number[];
  /** All up to this seq were read; 0: unchanged. */
  read_up_to: number;
  /** The inbox's rev after the change. */
  rev: number;
  total: number;
  unread: number;
  /** Ids that are unread. */
  unread_ids: number[];
};

export type Stats = {
  /** Messages acknowledged; those with QoS 0 never are. */
  acked: number;
  /** Connections open now on all nodes, as GET /admin/connections lists them. The other figures are as of each node's last heartbeat. */
  connections: number;
  /** Of these, the ones to subscriptions other than to a user's own topic, such as an operator's. */
  copies: number;
  /** Identifies the life of the log: it changes when the database is restored to an earlier point. */
  epoch: string;
  /** Sent to users' own devices and not yet acknowledged. */
  in_flight: number;
  nodes: Node[];
  /** Not sent because they exceed the device's Maximum Packet Size. */
  oversize: number;
  /** Web Push and webhooks, if either is on. */
  push?: Late;
  /** Reads of the log. */
  reads: number;
  /** Connections of devices that were refused. */
  refused: number;
  /** Messages sent since each node's start: one per notification and subscription. */
  sent: number;
  version: string;
  webhooks?: Late;
};

export type Subscription = {
  /** The push service's URL for this device; https only. */
  endpoint: string;
  keys: SubscriptionKeys;
};

export type SubscriptionKeys = {
  /** The device's authentication secret in base64url. */
  auth: string;
  /** The device's public key in base64url. */
  p256dh: string;
};

export type Unread = {
  /** The number of notifications that are still unread. */
  unread: number;
};

export type Withdrawn = {
  /** The number of notifications deleted: 0 or 1. */
  deleted: number;
};

// MQTT

export type LiveNotification = {
  /** Unique across all users. */
  id: number;
  /** Counts this user's notifications. */
  seq: number;
  /** What it is about: message, report.status, or a word that the application chooses. */
  kind: string;
  title: string;
  message: string;
  created_by: LiveUserId;
  /** UTC, with milliseconds. */
  created_at: string;
  /** Null while unread. */
  read_at: string | null;
  /** Absent if it is not about a report. */
  report_id?: number;
  /** 1 Pendiente, 2 Aprobado, 3 Rechazado. Absent if it is not about a report. */
  status_id?: 1 | 2 | 3;
  /** Where it leads: https://…, http://…, or a path that starts with a single /. Absent if it leads nowhere. */
  url?: string;
  /** The key under which it superseded the user's earlier notifications and may be superseded. */
  replaces?: string;
  /** When it expires: it is then neither delivered nor listed. In MQTT 5, Message Expiry Interval has the remaining life. */
  expires_at?: string;
  /** Data of the application, up to 4 KiB. */
  data?: Record<string, unknown>;
};

/** The changes of an inbox. Apply them to an inbox at any rev of at least from, in the order read_up_to, read, unread_ids, deleted. Applying them twice has the same result. Skip ids that the device does not have. */
export type LiveState = {
  /** Counts the changes of the inbox: its rev after these changes. */
  rev: number;
  /** The first rev to which the changes apply. Null: fetch the list again. */
  from: number | null;
  /** The counts are as of this seq and do not include later notifications. */
  last_seq: number;
  unread: number;
  total: number;
  /** 0: everything is muted. */
  is_review_enabled: 0 | 1;
  /** Settings of individual kinds: 0 mutes. */
  kinds: Record<string, 0 | 1>;
  /** All notifications up to this seq were read; 0: unchanged. */
  read_up_to: number;
  /** Ids that are read. */
  read: number[];
  /** Ids that are unread again. */
  unread_ids: number[];
  /** Ids that were deleted, superseded, expired or retained out. */
  deleted: number[];
};

/** MQTT 5 user properties of a state message. */
export type LiveStateProperties = {
  /** Distinguishes a state message from a notification, which has none. */
  type: "state";
  /** Identifies the life of the log, as for a notification. */
  epoch: string;
};

/** A user id. A decimal without leading zeros up to 2^53-1 is a number, any other a string. */
export type LiveUserId = number | string;

/** MQTT 5 user properties. MQTT 3.1.1 has none; id, seq and kind are in the payload as well. */
export type LiveUserProperties = {
  /** The notification's id, unique across all users. */
  id: string;
  /** Counts the user's notifications from 1, without gaps. */
  seq: string;
  /** What it is about: message, report.status, or a word that the application chooses. */
  kind: string;
  /** Identifies the life of the log. When it changes, the database was restored to an earlier point, and known seqs mean nothing. */
  epoch: string;
  /** On live deliveries whose POST had one, or while the server traces, so that the device can continue the trace (W3C Trace Context). */
  traceparent?: string;
};
