import { createContext, createElement, type ReactNode, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { FalconBell, FalconInbox } from "./element.js";
import { connect, type Inbox as Client, type Notification, type Options, type PushState, type State } from "./index.js";
import type { Language } from "./words.js";

const Context = createContext<Client | null>(null);

/**
 * Provides the inbox to the hooks below it. The connection is opened when the provider
 * mounts and closed when it unmounts; under React's StrictMode, which mounts twice, one
 * remains. A new url opens a new connection; a new getToken is used from then on.
 */
export function NotificationsProvider(props: Options & { children?: ReactNode }): ReactNode {
  const { children, ...options } = props;
  const latest = useMemo(() => ({ current: options }), []);
  latest.current = options;
  const [inbox, setInbox] = useState<Client | null>(null);
  const { url, mqttUrl, topicPrefix } = options;
  const push = Boolean(options.push);
  useEffect(() => {
    const made = connect({ ...latest.current, getToken: () => latest.current.getToken() });
    setInbox(made);
    return () => {
      made.close();
      setInbox(null);
    };
  }, [url, mqttUrl, topicPrefix, push, latest]);
  return createElement(Context.Provider, { value: inbox }, children);
}

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

const none: readonly Notification[] = [];
const noKinds: Readonly<Record<string, 0 | 1>> = {};
const nothing = async (): Promise<void> => {};

function useInbox<T>(of: (inbox: Client) => T, without: T): T {
  const inbox = useContext(Context);
  return useSyncExternalStore(
    useMemo(() => (changed: () => void) => inbox?.on("change", changed) ?? (() => {}), [inbox]),
    () => (inbox ? of(inbox) : without),
    () => without,
  );
}

/** The notifications, newest first, and their actions. */
export function useNotifications(): Notifications {
  const inbox = useContext(Context);
  const notifications = useInbox((i) => i.list(), none);
  const unread = useUnreadCount();
  const state = useInbox<State>((i) => i.state, "connecting");
  const error = useInbox((i) => i.error, null);
  const loaded = useInbox((i) => i.loaded, false);
  const muted = useInbox((i) => i.muted, null);
  const kinds = useInbox((i) => i.kinds, noKinds);
  const hasMore = useInbox((i) => i.hasOlder, false);
  return useMemo(
    () => ({
      notifications, unread, state, error, isLoading: !loaded && !error, muted, kinds, hasMore, hasOlder: hasMore,
      refetch: inbox ? () => inbox.refresh() : nothing,
      fetchMore: inbox ? () => inbox.older() : nothing,
      older: inbox ? () => inbox.older() : nothing,
      read: inbox ? (id: number) => inbox.read(id) : nothing,
      markUnread: inbox ? (id: number) => inbox.markUnread(id) : nothing,
      readAll: inbox ? () => inbox.readAll() : nothing,
      remove: inbox ? (id: number) => inbox.remove(id) : nothing,
      removeLater: inbox ? (id: number) => inbox.removeLater(id) : () => () => false,
      removeRead: inbox ? () => inbox.removeRead() : nothing,
      removeReadLater: inbox ? () => inbox.removeReadLater() : () => () => false,
      mute: inbox ? (m?: boolean) => inbox.mute(m) : nothing,
      muteKind: inbox ? (kind: string, m?: boolean) => inbox.muteKind(kind, m) : nothing,
      renew: inbox ? () => inbox.renew() : nothing,
    }),
    [inbox, notifications, unread, state, error, loaded, muted, kinds, hasMore],
  );
}

/** The number of unread notifications. */
export function useUnreadCount(): number {
  return useInbox((i) => i.unread, 0);
}

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
export function usePush(): WebPush {
  const push = useContext(Context)?.push ?? null;
  const state = useInbox<PushState>((i) => i.push?.state ?? "unsupported", "unsupported");
  return useMemo(
    () => ({
      state,
      enable: push ? () => push.enable() : nothing,
      disable: push ? () => push.disable() : nothing,
      test: push ? () => push.test() : nothing,
    }),
    [push, state],
  );
}

/** Properties of the components. */
export interface ComponentProps {
  lang?: Language;
  className?: string;
  /** A click on a notification's url. Call preventDefault to handle it yourself. */
  onOpen?(event: CustomEvent<{ item: Notification; url: URL }>): void;
}

/** One of the elements of ./element.js, which draws the provider's inbox. */
function useElement<E extends FalconInbox | FalconBell>(tag: "falcon-inbox" | "falcon-bell", props: ComponentProps): ReactNode {
  const inbox = useContext(Context);
  const element = useRef<E | null>(null);
  const { lang, className, onOpen } = props;
  useEffect(() => {
    let there = true;
    void import("./element.js").then(() => {
      if (there && element.current) element.current.inbox = inbox;
    });
    return () => void (there = false);
  }, [inbox]);
  useEffect(() => {
    const node = element.current;
    if (!node || !onOpen) return;
    const heard = onOpen as unknown as EventListener;
    node.addEventListener("open", heard);
    return () => node.removeEventListener("open", heard);
  }, [onOpen]);
  return createElement(tag, { ref: element, lang, class: className });
}

/** The user's whole inbox. */
export const Inbox = (props: ComponentProps): ReactNode => useElement<FalconInbox>("falcon-inbox", props);

/** The number of unread ones, and the inbox in a panel below. */
export const Bell = (props: ComponentProps): ReactNode => useElement<FalconBell>("falcon-bell", props);
