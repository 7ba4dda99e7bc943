/**
 * What this client publishes, and who waits for it to be a source. Pure: messages go in, what is to be told comes out. A new
 * peer of the streamer knows nothing of it, so it is said again after a reconnection.
 */

import { OrielError } from "./errors";
import type { ClientMessage, PublishKind, ServerMessage } from "./generated";

export type PublishOptions = {
  /** The name of the source; after this client's display name when absent or taken. */
  readonly name?: string;
  readonly signal?: AbortSignal;
};

/** What became of something that is published. */
export type Publication = {
  readonly kind: PublishKind;
  /** Name of the source. */
  readonly source: string;
  /** The slot in which the others see it; null while none is free. */
  readonly slot: number | null;
};

type Wish = { readonly track: MediaStreamTrack; readonly name: string | undefined };
type Waiter = {
  readonly kind: PublishKind;
  readonly resolve: (publication: Publication) => void;
  readonly reject: (error: OrielError) => void;
};

/** Codes of errors that mean that nothing can be published. */
const REFUSALS: ReadonlySet<string> = new Set(["may_not_publish", "too_many_sources", "source_failed"]);

export class Publications {
  readonly #wishes = new Map<PublishKind, Wish>();
  readonly #current = new Map<PublishKind, Publication>();
  #waiters: Waiter[] = [];

  /** What is published now, by kind. */
  get current(): ReadonlyMap<PublishKind, Publication> {
    return this.#current;
  }

  /** What is wanted, by kind. */
  get wishes(): ReadonlyMap<PublishKind, Wish> {
    return this.#wishes;
  }

  /** Notes a wish. Resolves when it is a source. */
  want(kind: PublishKind, track: MediaStreamTrack, options: PublishOptions): Promise<Publication> {
    this.#wishes.set(kind, { track, name: options.name });
    const current = this.#current.get(kind);
    if (current !== undefined) return Promise.resolve(current);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { kind, resolve, reject };
      this.#waiters.push(waiter);
      options.signal?.addEventListener("abort", () => {
        this.#waiters = this.#waiters.filter((one) => one !== waiter);
        reject(new OrielError("aborted", "aborted before it was published"));
      });
    });
  }

  /** It is wanted no longer. False when it was not. */
  forget(kind: PublishKind): boolean {
    this.#settle(kind, (waiter) => {
      waiter.reject(new OrielError("aborted", "it was unpublished"));
    });
    return this.#wishes.delete(kind);
  }

  /** What the streamer is to be told now that it can be. */
  messages(): ClientMessage[] {
    return [...this.#wishes].map(([kind, { name }]): ClientMessage => ({
      type: "publish",
      kind,
      ...(name === undefined ? {} : { name }),
    }));
  }

  /** The connection is a new one: what was published before is not. */
  reset(): void {
    this.#current.clear();
  }

  receive(message: ServerMessage): void {
    switch (message.type) {
      case "published": {
        const { kind, source, slot } = message;
        const publication: Publication = { kind, source, slot: slot ?? null };
        this.#current.set(kind, publication);
        this.#settle(kind, (waiter) => {
          waiter.resolve(publication);
        });
        break;
      }
      case "unpublished":
        this.#current.delete(message.kind);
        this.#settle(message.kind, (waiter) => {
          waiter.reject(new OrielError("refused", message.reason ?? "it was unpublished"));
        });
        break;
      case "error":
        if (REFUSALS.has(message.code)) {
          this.#refuse(new OrielError("refused", message.message, { code: message.code }));
        }
        break;
      default:
        break;
    }
  }

  #refuse(error: OrielError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      this.#wishes.delete(waiter.kind);
      waiter.reject(error);
    }
  }

  #settle(kind: PublishKind, act: (waiter: Waiter) => void): void {
    const settled = this.#waiters.filter((waiter) => waiter.kind === kind);
    this.#waiters = this.#waiters.filter((waiter) => waiter.kind !== kind);
    for (const waiter of settled) act(waiter);
  }
}
