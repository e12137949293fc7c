type Listener<A extends unknown[]> = (...args: A) => void;
/** A typed emitter. If a listener throws, the others are still called. */
export declare class Emitter<Events extends Record<keyof Events, unknown[]>> {
    #private;
    /** Calls f for each event. Returns a function that removes it. */
    on<K extends keyof Events>(event: K, f: Listener<Events[K]>): () => void;
    protected emit<K extends keyof Events>(event: K, ...args: Events[K]): void;
    protected clearListeners(): void;
}
export {};
