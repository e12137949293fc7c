/** Which kinds a user muted: 0 mutes. */
export type Kinds = Record<string, 0 | 1>;
/**
 * What changed in an inbox since `from`, as state messages and
 * `GET /notifications/changes` give it. It applies to an inbox at any rev from `from`
 * up, in the order read_up_to, read, unread_ids, deleted.
 */
export interface InboxState {
    rev: number;
    /** Null: the list is to be fetched again. */
    from: number | null;
    /** The counts are as of this seq. */
    last_seq: number;
    unread: number;
    total: number;
    is_review_enabled: 0 | 1;
    kinds: Kinds;
    /** Everything up to this seq was read; 0 where that did not change. */
    read_up_to: number;
    /** Ids that were marked read, one by one. */
    read: number[];
    /** Ids that were marked unread. */
    unread_ids: number[];
    /** Ids that left the inbox: deleted, superseded, expired or past the retention. */
    deleted: number[];
}
/** Reads a state message; null where it is none. */
export declare function readState(value: unknown): InboxState | null;
