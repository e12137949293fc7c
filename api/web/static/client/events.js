/** A typed emitter. If a listener throws, the others are still called. */
export class Emitter {
    #listeners = new Map();
    /** Calls f for each event. Returns a function that removes it. */
    on(event, f) {
        const set = this.#listeners.get(event) ?? new Set();
        this.#listeners.set(event, set);
        set.add(f);
        return () => void set.delete(f);
    }
    emit(event, ...args) {
        for (const f of [...(this.#listeners.get(event) ?? [])]) {
            try {
                f(...args);
            }
            catch (error) {
                queueMicrotask(() => {
                    throw error; // reported as an uncaught error, but not to the emitter's caller
                });
            }
        }
    }
    clearListeners() {
        this.#listeners.clear();
    }
}
