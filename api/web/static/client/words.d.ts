declare const en: {
    inbox: string;
    all: string;
    unreadOnly: string;
    filter: string;
    markAll: string;
    removeRead: string;
    mute: string;
    muteHint: string;
    mutedTitle: string;
    mutedText: string;
    showMuted: string;
    hideMuted: string;
    unmute: string;
    muteKind: (kind: string) => string;
    kindsMuted: (kinds: string) => string;
    unmuteKind: (kind: string) => string;
    emptyTitle: string;
    emptyText: string;
    noUnreadTitle: string;
    noUnreadText: string;
    showAll: string;
    loading: string;
    older: string;
    olderLoaded: (n: number) => string;
    unreadMark: string;
    markRead: string;
    markUnread: string;
    remove: string;
    removed: string;
    readRemoved: string;
    markedAll: string;
    undo: string;
    undone: string;
    more: string;
    less: string;
    bell: (n: number) => string;
    unread: (n: number) => string;
    status1: string;
    status2: string;
    status3: string;
    pollingTitle: string;
    pollingText: string;
    awayTitle: string;
    awayText: string;
    offlineTitle: string;
    offlineText: string;
    endedTitle: string;
    endedText: string;
    expiringTitle: string;
    expiringText: string;
    renew: string;
    retry: string;
    failed: (why: string) => string;
};
type English = typeof en;
interface Words extends English {
}
declare const languages: Record<"en" | "es", Words>;
/** A language in which the element has its texts. */
export type Language = keyof typeof languages;
/** The language for a tag such as "es-MX"; English for one that has no texts. */
export declare function language(tag: string | null | undefined): Language;
export declare const words: (lang: Language) => Words;
/** A count as shown on a badge: empty for none, 99+ above 99. */
export declare const badge: (n: number) => string;
/** A key that is the same for all times of one local day. */
export declare const dayOf: (date: Date) => number;
/** "Today", "Yesterday", or the date in words. */
export declare function dayName(date: Date, lang: Language, today?: Date): string;
/** How long ago, in short: "now", "3 min. ago"; after a day the time of day, as the date is in the heading. */
export declare function ago(date: Date, lang: Language, now?: number): string;
export declare const fullTime: (date: Date, lang: Language) => string;
export {};
