import { createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { connect } from "./index.js";
const Context = createContext(null);
/**
 * Provides the inbox to the hooks below it. The connection is opened when the provider
 * mounts and closed when it unmounts; under React's StrictMode, which mounts twice, one
 * remains. A new url opens a new connection; a new getToken is used from then on.
 */
export function NotificationsProvider(props) {
    const { children, ...options } = props;
    const latest = useMemo(() => ({ current: options }), []);
    latest.current = options;
    const [inbox, setInbox] = useState(null);
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
const none = [];
const noKinds = {};
const nothing = async () => { };
function useInbox(of, without) {
    const inbox = useContext(Context);
    return useSyncExternalStore(useMemo(() => (changed) => inbox?.on("change", changed) ?? (() => { }), [inbox]), () => (inbox ? of(inbox) : without), () => without);
}
/** The notifications, newest first, and their actions. */
export function useNotifications() {
    const inbox = useContext(Context);
    const notifications = useInbox((i) => i.list(), none);
    const unread = useUnreadCount();
    const state = useInbox((i) => i.state, "connecting");
    const error = useInbox((i) => i.error, null);
    const loaded = useInbox((i) => i.loaded, false);
    const muted = useInbox((i) => i.muted, null);
    const kinds = useInbox((i) => i.kinds, noKinds);
    const hasMore = useInbox((i) => i.hasOlder, false);
    return useMemo(() => ({
        notifications, unread, state, error, isLoading: !loaded && !error, muted, kinds, hasMore, hasOlder: hasMore,
        refetch: inbox ? () => inbox.refresh() : nothing,
        fetchMore: inbox ? () => inbox.older() : nothing,
        older: inbox ? () => inbox.older() : nothing,
        read: inbox ? (id) => inbox.read(id) : nothing,
        markUnread: inbox ? (id) => inbox.markUnread(id) : nothing,
        readAll: inbox ? () => inbox.readAll() : nothing,
        remove: inbox ? (id) => inbox.remove(id) : nothing,
        removeLater: inbox ? (id) => inbox.removeLater(id) : () => () => false,
        removeRead: inbox ? () => inbox.removeRead() : nothing,
        removeReadLater: inbox ? () => inbox.removeReadLater() : () => () => false,
        mute: inbox ? (m) => inbox.mute(m) : nothing,
        muteKind: inbox ? (kind, m) => inbox.muteKind(kind, m) : nothing,
        renew: inbox ? () => inbox.renew() : nothing,
    }), [inbox, notifications, unread, state, error, loaded, muted, kinds, hasMore]);
}
/** The number of unread notifications. */
export function useUnreadCount() {
    return useInbox((i) => i.unread, 0);
}
/** Whether this browser gets pushes while no page is open, for a provider with push. */
export function usePush() {
    const push = useContext(Context)?.push ?? null;
    const state = useInbox((i) => i.push?.state ?? "unsupported", "unsupported");
    return useMemo(() => ({
        state,
        enable: push ? () => push.enable() : nothing,
        disable: push ? () => push.disable() : nothing,
        test: push ? () => push.test() : nothing,
    }), [push, state]);
}
/** One of the elements of ./element.js, which draws the provider's inbox. */
function useElement(tag, props) {
    const inbox = useContext(Context);
    const element = useRef(null);
    const { lang, className, onOpen } = props;
    useEffect(() => {
        let there = true;
        void import("./element.js").then(() => {
            if (there && element.current)
                element.current.inbox = inbox;
        });
        return () => void (there = false);
    }, [inbox]);
    useEffect(() => {
        const node = element.current;
        if (!node || !onOpen)
            return;
        const heard = onOpen;
        node.addEventListener("open", heard);
        return () => node.removeEventListener("open", heard);
    }, [onOpen]);
    return createElement(tag, { ref: element, lang, class: className });
}
/** The user's whole inbox. */
export const Inbox = (props) => useElement("falcon-inbox", props);
/** The number of unread ones, and the inbox in a panel below. */
export const Bell = (props) => useElement("falcon-bell", props);
