import { createContext, createElement, type ReactNode, useContext, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { connect, type Inbox, type Notification, type Options, type State } from "./index.js";

const Context = createContext<Inbox | null>(null);

/**
 * Gives the inbox to the hooks below it. The connection is made when the provider is
 * mounted and ended when it goes; React's StrictMode, which mounts twice, leaves one.
 * Another url makes another connection; another getToken is used from then on.
 */
export function NotificationsProvider(props: Options & { children?: ReactNode }): ReactNode {
  const { children, ...options } = props;
  const latest = useMemo(() => ({ current: options }), []);
  latest.current = options;
  const [inbox, setInbox] = useState<Inbox | null>(null);
  const { url, mqttUrl, topicPrefix } = options;
  useEffect(() => {
    const made = connect({ ...latest.current, getToken: () => latest.current.getToken() });
    setInbox(made);
    return () => {
      made.close();
      setInbox(null);
    };
  }, [url, mqttUrl, topicPrefix, latest]);
  return createElement(Context.Provider, { value: inbox }, children);
}

/** What useNotifications gives. */
export interface Notifications {
  notifications: readonly Notification[];
  unread: number;
  state: State;
  muted: boolean | null;
  hasOlder: boolean;
  read(id: number): Promise<void>;
  readAll(): Promise<void>;
  remove(id: number): Promise<void>;
  mute(muted?: boolean): Promise<void>;
  older(): Promise<unknown>;
}

const none: readonly Notification[] = [];
const nothing = async (): Promise<void> => {};

function useInbox<T>(of: (inbox: Inbox) => T, without: T): T {
  const inbox = useContext(Context);
  return useSyncExternalStore(
    useMemo(() => (changed: () => void) => inbox?.on("change", changed) ?? (() => {}), [inbox]),
    () => (inbox ? of(inbox) : without),
    () => without,
  );
}

/** The notifications, newest first, and what can be done to them. */
export function useNotifications(): Notifications {
  const inbox = useContext(Context);
  const notifications = useInbox((i) => i.list(), none);
  const unread = useUnreadCount();
  const state = useInbox<State>((i) => i.state, "connecting");
  const muted = useInbox((i) => i.muted, null);
  const hasOlder = useInbox((i) => i.hasOlder, false);
  return useMemo(
    () => ({
      notifications, unread, state, muted, hasOlder,
      read: inbox ? (id: number) => inbox.read(id) : nothing,
      readAll: inbox ? () => inbox.readAll() : nothing,
      remove: inbox ? (id: number) => inbox.remove(id) : nothing,
      mute: inbox ? (m?: boolean) => inbox.mute(m) : nothing,
      older: inbox ? () => inbox.older() : nothing,
    }),
    [inbox, notifications, unread, state, muted, hasOlder],
  );
}

/** How many are unread. */
export function useUnreadCount(): number {
  return useInbox((i) => i.unread, 0);
}
