/** The kinds that a user has muted: 0 mutes. */
export type Kinds = Record<string, 0 | 1>;
/**
 * The changes of an inbox since `from`, as in state messages and
 * `GET /notifications/changes`. Apply them to an inbox at any rev of at least `from`, in
 * the order read_up_to, read, unread_ids, deleted.
 */
export interface InboxState {
    rev: number;
    /** Null: fetch the list again. */
    from: number | null;
    /** The counts are as of this seq. */
    last_seq: number;
    unread: number;
    total: number;
    is_review_enabled: 0 | 1;
    kinds: Kinds;
    /** Everything up to this seq was read; 0 if that did not change. */
    read_up_to: number;
    /** Ids that were marked as read individually. */
    read: number[];
    /** Ids that were marked as unread. */
    unread_ids: number[];
    /** Ids that were deleted, superseded, expired or retained out. */
    deleted: number[];
}
/** Reads a state message; null if it is not one. */
export declare function readState(value: unknown): InboxState | null;
