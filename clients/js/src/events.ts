type Listener<A extends unknown[]> = (...args: A) => void;

/** A typed emitter. If a listener throws, the others are still called. */
export class Emitter<Events extends Record<keyof Events, unknown[]>> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Calls f for each event. Returns a function that removes it. */
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
          throw error; // reported as an uncaught error, but not to the emitter's caller
        });
      }
    }
  }

  protected clearListeners(): void {
    this.#listeners.clear();
  }
}
