/** Typed events: a small emitter whose listeners can be tied to an `AbortSignal`. */

export type Listener<T> = (event: T) => void;

export type ListenOptions = {
  /** Removes the listener when aborted. */
  readonly signal?: AbortSignal;
};

/** An emitter of events. Listeners are called synchronously, in the order in which they were added. */
export interface EventSource<Events extends object> {
  /** Adds a listener; the returned function removes it. */
  on<K extends keyof Events>(type: K, listener: Listener<Events[K]>, options?: ListenOptions): () => void;
}

/** An {@link EventSource} together with the right to emit. */
export class Emitter<Events extends object> implements EventSource<Events> {
  readonly #listeners = new Map<keyof Events, Set<(event: unknown) => void>>();

  on<K extends keyof Events>(
    type: K,
    listener: Listener<Events[K]>,
    options: ListenOptions = {},
  ): () => void {
    if (options.signal?.aborted === true) return () => undefined;
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    // A wrapper of its own, so that the same function can be added twice.
    const entry = (event: unknown): void => {
      listener(event as Events[K]);
    };
    listeners.add(entry);
    const remove = (): void => {
      listeners.delete(entry);
    };
    options.signal?.addEventListener("abort", remove, { once: true });
    return remove;
  }

  emit<K extends keyof Events>(type: K, event: Events[K]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        // One listener's bug must not keep the others, or our own state, from going on.
        reportError(error);
      }
    }
  }
}
