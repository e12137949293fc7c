type Listener<A extends unknown[]> = (...args: A) => void;
/** A typed emitter. A listener that throws does not keep the others from hearing. */
export declare class Emitter<Events extends Record<keyof Events, unknown[]>> {
    #private;
    /** Calls f at every such event; returns what ends that. */
    on<K extends keyof Events>(event: K, f: Listener<Events[K]>): () => void;
    protected emit<K extends keyof Events>(event: K, ...args: Events[K]): void;
    protected clearListeners(): void;
}
export {};
