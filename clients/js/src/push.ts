import { type Rest, RestError } from "./rest.js";

export interface PushOptions {
  /** The worker's script; without it worker.js below the page, which falconbridge serves with its own. */
  serviceWorker?: string | URL;
}

/**
 * Whether this browser gets a push when no page is open: "unsupported" by the browser,
 * or without https; "denied" by its user, or by policy; "off"; "on".
 */
export type PushState = "unsupported" | "denied" | "off" | "on";

/** What a service worker asks a page; see worker.js. */
interface Question {
  ask: "has" | "open";
  data: { seq?: number; last_seq?: number; created_by?: string | number; id?: number };
}

/** What Push needs to know of its inbox. */
interface Host {
  user(): string;
  /** Whether the inbox is shown as of that seq, or a later one. */
  has(seq: number): boolean;
  /** A notification was clicked whose inbox is open here. */
  opened(id: number | undefined): void;
  changed(): void;
}

const held = new Map<string, string | null>(); // where storage is switched off, as long as the page lives

/** What is kept in localStorage: a client id for each user, and who gets this browser's pushes. */
function kept(key: string, value?: string | null): string | null {
  if (value !== undefined) held.set(key, value);
  try {
    if (value === null) localStorage.removeItem(key);
    else if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key) ?? held.get(key) ?? null; // where it is full, it reads and does not write
  } catch {
    return held.get(key) ?? null;
  }
}

interface Policy {
  createScriptURL(url: string): string;
}

let policy: Policy | null | undefined;

/** The worker's address as pages with Trusted Types want it, by the policy "falconbridge". */
function trusted(url: URL): string {
  const types = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes;
  try {
    policy ??= types?.createPolicy("falconbridge", {
      createScriptURL: (text) => {
        if (new URL(text).origin !== location.origin) throw new TypeError("a worker of another origin");
        return text;
      },
    }) ?? null;
  } catch {
    policy = null; // the page's policy does not list the name: the browser may refuse the address
  }
  return policy ? policy.createScriptURL(url.href) : url.href;
}

const bytesOf = (key: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const same = (a: ArrayBuffer | null | undefined, b: Uint8Array): boolean => {
  const is = new Uint8Array(a ?? new ArrayBuffer(0));
  return is.length === b.length && is.every((byte, i) => byte === b[i]);
};

/** Pushes to this browser for an inbox that was connected with push. */
export class Push {
  readonly #ownerKey: string;
  readonly #clientKey: string;
  #closed = false;
  readonly #asked = (event: MessageEvent) => this.#answer(event);

  constructor(
    private readonly rest: Rest,
    private readonly options: PushOptions,
    private readonly host: Host,
    server: string,
  ) {
    this.#ownerKey = `falconbridge.push:${server}`;
    this.#clientKey = `falconbridge.client:${server}`;
    if (!this.#supported) return;
    navigator.serviceWorker.addEventListener("message", this.#asked);
    navigator.serviceWorker.startMessages();
  }

  get #supported(): boolean {
    return !!globalThis.navigator?.serviceWorker && "PushManager" in globalThis && "Notification" in globalThis;
  }

  get state(): PushState {
    if (!this.#supported) return "unsupported";
    if (Notification.permission === "denied") return "denied";
    return Notification.permission === "granted" && this.#mine ? "on" : "off";
  }

  /** Whether this browser's pushes are this user's. */
  get #mine(): boolean {
    return this.host.user() !== "" && kept(this.#ownerKey) === this.host.user();
  }

  /** The client id of this browser for the user, made the first time. */
  clientId(name = "js-"): string {
    const key = `${this.#clientKey}:${this.host.user()}`;
    return kept(key) ?? kept(key, `${name}${crypto.randomUUID()}`)!;
  }

  /**
   * Goes on as this browser was left: registers again with the present token where the
   * user has pushes on, and ends those of another user, who is not to be shown to this
   * one.
   */
  async resume(): Promise<void> {
    if (!this.#supported) return;
    if (this.state === "on") {
      return this.#subscribe().catch((error: unknown) => {
        if (!(error instanceof RestError) || error.status !== 404) throw error; // Web Push is off on the server
      });
    }
    const subscription = await (await this.#registration())?.pushManager.getSubscription();
    if (!subscription || (kept(this.#ownerKey) === null && !(await this.#ours(subscription)))) return;
    await subscription.unsubscribe(); // the push service refuses the next message, and the server forgets the endpoint
    kept(this.#ownerKey, null);
  }

  /** Whether a subscription that nothing was kept about was made with the server's key. */
  async #ours(subscription: PushSubscription): Promise<boolean> {
    const key = await this.rest.pushKey().catch(() => null);
    return key !== null && same(subscription.options.applicationServerKey, bytesOf(key));
  }

  /** Asks for permission and registers this browser. Call it when a button is pressed: browsers ask their user only then. */
  async enable(): Promise<void> {
    if (!this.#supported) throw new Error("this browser has no Web Push here");
    if ((await Notification.requestPermission()) !== "granted") {
      this.host.changed();
      throw new Error("notifications are not allowed");
    }
    await this.#subscribe();
  }

  async #subscribe(): Promise<void> {
    const key = bytesOf(await this.rest.pushKey());
    const worker = await navigator.serviceWorker.register(trusted(this.#script()) as unknown as URL, { updateViaCache: "none" });
    await active(worker);
    let subscription = await worker.pushManager.getSubscription();
    if (subscription && (!same(subscription.options.applicationServerKey, key) || !this.#mine)) {
      await subscription.unsubscribe(); // of another key, or of another user
      subscription = null;
    }
    subscription ??= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    await this.#register(subscription);
  }

  /** Ends the pushes to this browser, there and on the server. */
  async disable(): Promise<void> {
    if (!this.#supported || !this.#mine) return;
    kept(this.#ownerKey, null);
    this.host.changed();
    const gone = (error: unknown) => {
      if (!(error instanceof RestError && error.status === 404)) throw error; // else it was removed already
    };
    const unsubscribe = async () => (await (await this.#registration())?.pushManager.getSubscription())?.unsubscribe();
    await Promise.all([this.rest.removeDevice(this.clientId()).catch(gone), unsubscribe()]);
  }

  /** Sends one push to this browser. */
  test(): Promise<void> {
    return this.rest.testDevice(this.clientId());
  }

  /** Shows how many are unread on the application's icon, and takes back what is shown once all are read. */
  badge(unread: number): void {
    if (this.#closed) return;
    const set = unread > 0 ? navigator.setAppBadge?.(unread) : navigator.clearAppBadge?.();
    set?.catch(() => {}); // not installed
    if (unread === 0 && this.state === "on") void this.#clear().catch(() => {});
  }

  close(): void {
    this.#closed = true;
    if (this.#supported) navigator.serviceWorker.removeEventListener("message", this.#asked);
  }

  async #clear(): Promise<void> {
    const shown = await (await this.#registration())?.getNotifications();
    for (const notification of shown ?? []) if (notification.tag.startsWith("falconbridge-")) notification.close();
  }

  async #register(subscription: PushSubscription): Promise<void> {
    const { endpoint, keys } = subscription.toJSON();
    await this.rest.putDevice(this.clientId(), { endpoint: endpoint!, keys: { p256dh: keys!["p256dh"]!, auth: keys!["auth"]! } });
    kept(this.#ownerKey, this.host.user());
    this.host.changed();
  }

  #script(): URL {
    return new URL(this.options.serviceWorker ?? "worker.js", document.baseURI);
  }

  #registration(): Promise<ServiceWorkerRegistration | undefined> {
    return navigator.serviceWorker.getRegistration(new URL(".", this.#script()).href);
  }

  /** A worker asks whether this page shows a notification already, or opens one. */
  #answer({ data, ports }: MessageEvent): void {
    const question = (data as { falconbridge?: Question } | null)?.falconbridge;
    if (!question || this.#closed) return;
    const { ask, data: of } = question;
    if (of.created_by !== undefined && String(of.created_by) !== this.host.user()) return;
    if (ask === "open") this.host.opened(of.id);
    else if (document.visibilityState !== "visible" || !this.host.has(of.seq ?? of.last_seq ?? Infinity)) return;
    ports[0]?.postMessage(true);
  }
}

/** Waits until a registration has an active worker: only then can it subscribe. */
function active(registration: ServiceWorkerRegistration): Promise<void> {
  const worker = registration.installing ?? registration.waiting ?? registration.active!;
  return new Promise((done, failed) => {
    const look = () => {
      if (worker.state === "activated" || registration.active) done();
      else if (worker.state === "redundant") failed(new Error("the service worker could not be installed"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}

