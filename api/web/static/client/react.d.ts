import { type ReactNode } from "react";
import { type Notification, type Options, type PushState, type State } from "./index.js";
/**
 * Gives the inbox to the hooks below it. The connection is made when the provider is
 * mounted and ended when it goes; React's StrictMode, which mounts twice, leaves one.
 * Another url makes another connection; another getToken is used from then on.
 */
export declare function NotificationsProvider(props: Options & {
    children?: ReactNode;
}): ReactNode;
/** What useNotifications gives. */
export interface Notifications {
    notifications: readonly Notification[];
    unread: number;
    state: State;
    /** What went wrong last, until the server answers again. */
    error: Error | null;
    /** The history is being read for the first time. */
    isLoading: boolean;
    muted: boolean | null;
    kinds: Readonly<Record<string, 0 | 1>>;
    /** Whether fetchMore has more. */
    hasMore: boolean;
    /** Asks the server again now. */
    refetch(): Promise<void>;
    /** Loads the next older page. */
    fetchMore(): Promise<unknown>;
    read(id: number): Promise<void>;
    markUnread(id: number): Promise<void>;
    readAll(): Promise<void>;
    remove(id: number): Promise<void>;
    /** Hides one and deletes it after some seconds; the returned function takes it back. */
    removeLater(id: number): () => boolean;
    removeRead(): Promise<void>;
    /** As removeLater, with all read ones. */
    removeReadLater(): () => boolean;
    mute(muted?: boolean): Promise<void>;
    muteKind(kind: string, muted?: boolean): Promise<void>;
    /** Asks getToken for a new token, also after the inbox ended. */
    renew(): Promise<void>;
    /** As hasMore. */
    hasOlder: boolean;
    /** As fetchMore. */
    older(): Promise<unknown>;
}
/** The notifications, newest first, and what can be done to them. */
export declare function useNotifications(): Notifications;
/** How many are unread. */
export declare function useUnreadCount(): number;
/** What usePush gives. */
export interface WebPush {
    /** "unsupported" also where the provider has no push. */
    state: PushState;
    /** Asks for permission and registers this browser: call it when a button is pressed. */
    enable(): Promise<void>;
    disable(): Promise<void>;
    /** Sends one push to this browser. */
    test(): Promise<void>;
}
/** Whether this browser gets a push when no page is open, for a provider with push. */
export declare function usePush(): WebPush;
/** Properties of the components. */
export interface ComponentProps {
    lang?: "es" | "en";
    className?: string;
    /** A click through to a notification's url; call preventDefault to handle it yourself. */
    onOpen?(event: CustomEvent<{
        item: Notification;
        url: URL;
    }>): void;
}
/** The user's whole inbox. */
export declare const Inbox: (props: ComponentProps) => ReactNode;
/** How many are unread, and the inbox in a panel below. */
export declare const Bell: (props: ComponentProps) => ReactNode;
