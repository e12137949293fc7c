type Listener<A extends unknown[]> = (...args: A) => void;

/** A typed emitter. A listener that throws does not keep the others from hearing. */
export class Emitter<Events extends Record<keyof Events, unknown[]>> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Calls f at every such event; returns what ends that. */
  on<K extends keyof Events>(event: K, f: Listener<Events[K]>): () => void {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set);
    set.add(f as Listener<never>);
    return () => void set.delete(f as Listener<never>);
  }

  protected emit<K extends keyof Events>(event: K, ...args: Events[K]): void {
    for (const f of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (f as Listener<Events[K]>)(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error; // the listener's own fault, told where such are told
        });
      }
    }
  }

  protected clearListeners(): void {
    this.#listeners.clear();
  }
}
