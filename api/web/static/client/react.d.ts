import { type ReactNode } from "react";
import { type Notification, type Options, type PushState, type State } from "./index.js";
import type { Language } from "./words.js";
/**
 * Provides the inbox to the hooks below it. The connection is opened when the provider
 * mounts and closed when it unmounts; under React's StrictMode, which mounts twice, one
 * remains. A new url opens a new connection; a new getToken is used from then on.
 */
export declare function NotificationsProvider(props: Options & {
    children?: ReactNode;
}): ReactNode;
/** The result of useNotifications. */
export interface Notifications {
    notifications: readonly Notification[];
    unread: number;
    state: State;
    /** The last error, until the server responds again. */
    error: Error | null;
    /** The history is being read for the first time. */
    isLoading: boolean;
    muted: boolean | null;
    kinds: Readonly<Record<string, 0 | 1>>;
    /** Whether fetchMore has more. */
    hasMore: boolean;
    /** Calls the server now. */
    refetch(): Promise<void>;
    /** Loads the next older page. */
    fetchMore(): Promise<unknown>;
    read(id: number): Promise<void>;
    markUnread(id: number): Promise<void>;
    readAll(): Promise<void>;
    remove(id: number): Promise<void>;
    /** Hides one and deletes it after some seconds. The returned function undoes it. */
    removeLater(id: number): () => boolean;
    removeRead(): Promise<void>;
    /** Like removeLater, for all read ones. */
    removeReadLater(): () => boolean;
    mute(muted?: boolean): Promise<void>;
    muteKind(kind: string, muted?: boolean): Promise<void>;
    /** Asks getToken for a new token, even after the inbox ended. */
    renew(): Promise<void>;
    /** Same as hasMore. */
    hasOlder: boolean;
    /** Same as fetchMore. */
    older(): Promise<unknown>;
}
/** The notifications, newest first, and their actions. */
export declare function useNotifications(): Notifications;
/** The number of unread notifications. */
export declare function useUnreadCount(): number;
/** The result of usePush. */
export interface WebPush {
    /** "unsupported" also if the provider has no push. */
    state: PushState;
    /** Asks for permission and registers this browser. Call it when a button is pressed. */
    enable(): Promise<void>;
    disable(): Promise<void>;
    /** Sends a test push to this browser. */
    test(): Promise<void>;
}
/** Whether this browser gets pushes while no page is open, for a provider with push. */
export declare function usePush(): WebPush;
/** Properties of the components. */
export interface ComponentProps {
    lang?: Language;
    className?: string;
    /** A click on a notification's url. Call preventDefault to handle it yourself. */
    onOpen?(event: CustomEvent<{
        item: Notification;
        url: URL;
    }>): void;
}
/** The user's whole inbox. */
export declare const Inbox: (props: ComponentProps) => ReactNode;
/** The number of unread ones, and the inbox in a panel below. */
export declare const Bell: (props: ComponentProps) => ReactNode;
