const pulseEvery = 1_500; // ms between two looks of a following tab
const silences = 3; // looks in a row without a sign of the leader, after which it is taken over
/** What only a leader sends. */
const leaders = new Set(["here", "up", "down", "live", "state"]);
/** Reports whether the browser lets tabs share one connection. */
export const tabsShare = () => !!globalThis.navigator?.locks && typeof BroadcastChannel !== "undefined";
/**
 * Joins the tabs of the same origin under a name. One leads: whoever holds the
 * lock, which the browser passes on when a tab closes or crashes.
 * Where there are no locks (Node, old browsers), each leads itself.
 *
 * A leader whose event loop stands still, in a debugger or a long computation, or
 * that the browser froze, keeps its lock. So the others ask for a sign of life: from a
 * message handler, because a hidden tab's timers run as rarely as once a minute. After
 * some silence one of them steals the lock. The former leader learns of that when it
 * runs again, ends its connection and queues like the rest.
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
    const held = () => {
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
        locks.request(name, { signal }, held).catch(() => signal.aborted || stolen());
    };
    const look = () => {
        if (leading || closed)
            return;
        // Of many tabs mostly one asks, and all hear the response.
        if (++silent === 1)
            return;
        if (silent <= silences)
            return send({ type: "ask" });
        silent = 0;
        queued.abort();
        locks.request(name, { steal: true }, held).catch(stolen);
    };
    queue();
    const timer = setInterval(look, pulseEvery * (0.8 + Math.random() * 0.4));
    timer.unref?.();
    const shown = () => {
        if (document.visibilityState !== "visible")
            return;
        silent = Math.max(silent, 1); // the timer may have slept: ask now
        look();
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
