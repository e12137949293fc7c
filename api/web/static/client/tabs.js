const pulseEvery = 1_500; // ms between two checks of a following tab
const silences = 3; // checks in a row without a message of the leader, after which a tab takes over
/** Messages that only a leader sends. */
const leaders = new Set(["here", "up", "down", "live", "state"]);
/** Reports whether the browser lets tabs share one connection. */
export const tabsShare = () => !!globalThis.navigator?.locks && typeof BroadcastChannel !== "undefined";
/**
 * Joins the tabs of the same origin under a name. The tab that has the lock leads. The
 * browser passes the lock on when a tab closes or crashes. Without Web Locks (Node, old
 * browsers) each tab leads itself.
 *
 * A leader keeps its lock while its event loop is blocked, in a debugger or a long
 * computation, or while the browser has frozen it. So the others send it a heartbeat
 * question, which it answers from a message handler, because a hidden tab's timers run as
 * rarely as once a minute. After some silence one of them steals the lock. The former
 * leader notices when it runs again, ends its connection and queues like the others.
 */
export function joinTabs(name, events) {
    const locks = globalThis.navigator?.locks;
    if (!tabsShare()) {
        queueMicrotask(() => events.lead());
        return { send() { }, close() { } };
    }
    const channel = new BroadcastChannel(name);
    let queued = new AbortController();
    let release = () => { };
    let leading = false;
    let closed = false;
    let silent = 0;
    const send = (message) => {
        if (!closed)
            channel.postMessage(message);
    };
    channel.onmessage = ({ data }) => {
        if (leaders.has(data.type))
            silent = 0;
        if (data.type === "ask")
            return void (leading && send({ type: "here" }));
        if (data.type !== "here")
            events.message(data);
    };
    const acquired = () => {
        if (closed)
            return undefined;
        leading = true;
        send({ type: "here" }); // the others need not take over as well
        events.lead();
        return new Promise((done) => (release = done));
    };
    const stolen = () => {
        if (closed)
            return;
        leading = false;
        silent = 0;
        events.follow();
        queue();
    };
    const queue = () => {
        const { signal } = (queued = new AbortController());
        locks.request(name, { signal }, acquired).catch(() => signal.aborted || stolen());
    };
    const check = () => {
        if (leading || closed)
            return;
        // With many tabs, usually only one asks, and all receive the response.
        if (++silent === 1)
            return;
        if (silent <= silences)
            return send({ type: "ask" });
        silent = 0;
        queued.abort();
        locks.request(name, { steal: true }, acquired).catch(stolen);
    };
    queue();
    const timer = setInterval(check, pulseEvery * (0.8 + Math.random() * 0.4));
    timer.unref?.();
    const shown = () => {
        if (document.visibilityState !== "visible")
            return;
        silent = Math.max(silent, 1); // the timer may have been throttled: ask now
        check();
    };
    globalThis.document?.addEventListener("visibilitychange", shown);
    return {
        send,
        close: () => {
            closed = true;
            clearInterval(timer);
            globalThis.document?.removeEventListener("visibilitychange", shown);
            queued.abort();
            release();
            channel.close();
        },
    };
}
