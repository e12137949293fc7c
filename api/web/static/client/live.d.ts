import { type InboxState } from "./state.js";
import type { Notification } from "./types.gen.js";
/** The events of a live connection. */
export interface LiveEvents {
    /** Subscribed: from now on no notification is missed. */
    up(): void;
    /** The connection ended or failed; it will be retried. */
    down(): void;
    message(item: Notification, epoch: string | undefined): void;
    /** The inbox's state changed, on this device or another. */
    state?(state: InboxState, epoch: string | undefined): void;
    /** The token was refused. Resolves to true if there is another one to try. */
    refused(token: string): Promise<boolean>;
}
/** A live connection, which reconnects until stop. */
export interface Live {
    start(): void;
    stop(): void;
    /** Reconnects now instead of after the pause. */
    retryNow(): void;
    /** Continues with another token of the same user. */
    renew(token: string): void;
}
export interface LiveOptions {
    /** ws(s):// in browsers; mqtt(s):// in Node as well. */
    url: string;
    topic: string;
    token(): Promise<string>;
    /** The known rev, 0 for none. Without this function no state messages are requested. */
    rev?(): number;
    /** The prefix of the client id. Default: "js-". */
    name?: string;
    /** The client id of a device that keeps its session for a week. Without it each connection is new. */
    clientId?: string;
}
/** A connection of mqtt.js, whose own reconnecting is off, because it does not renew tokens or vary its pauses. */
export declare class MqttLive implements Live {
    #private;
    private readonly options;
    private readonly events;
    constructor(options: LiveOptions, events: LiveEvents);
    start(): void;
    stop(): void;
    retryNow(): void;
    /** Renews in place with AUTH (0x19), or reconnects if there is no response to it. */
    renew(token: string): void;
}
