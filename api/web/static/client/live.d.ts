import { type InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/** What a live connection tells. */
export interface LiveEvents {
    /** Subscribed: from now on nothing is missed. */
    up(): void;
    /** The connection ended, or could not be made; it is being tried again. */
    down(): void;
    message(item: Notification, epoch: string | undefined): void;
    /** The inbox's state changed, on this device or another. */
    state?(state: InboxState, epoch: string | undefined): void;
    /** The token is not taken. True: there is another one, try again. */
    refused(token: string): Promise<boolean>;
}
/** A live connection, kept up until stop. */
export interface Live {
    start(): void;
    stop(): void;
    /** Tries at once instead of after the pause. */
    hurry(): void;
    /** Goes on with another token of the same user. */
    renew(token: string): void;
}
export interface LiveOptions {
    /** ws(s):// in browsers; mqtt(s):// in Node as well. */
    url: string;
    topic: string;
    token(): Promise<string>;
    /** The rev that is known, 0 for none; without it no state messages are asked for. */
    rev?(): number;
    /** The beginning of the client id; "js-" without it. */
    name?: string;
    /** The client id of a device that keeps its cursor for a week; without it each connection is new. */
    clientId?: string;
}
/** mqtt.js ends a client's own timers and reconnects; the pauses and the token are ours. */
export declare class MqttLive implements Live {
    #private;
    private readonly options;
    private readonly events;
    constructor(options: LiveOptions, events: LiveEvents);
    start(): void;
    stop(): void;
    hurry(): void;
    /** Renews in place with AUTH (0x19); where that is not answered, connects again. */
    renew(token: string): void;
}
