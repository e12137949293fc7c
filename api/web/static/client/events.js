/** A typed emitter. A listener that throws does not keep the others from hearing. */
export class Emitter {
    #listeners = new Map();
    /** Calls f at every such event; returns what ends that. */
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
                    throw error; // the listener's own fault, told where such are told
                });
            }
        }
    }
    clearListeners() {
        this.#listeners.clear();
    }
}
