import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer, request, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

const load = createRequire(import.meta.url);
type Model = { notifyUrl: string };
const { PushApiModel } = load("web-push-testing/src/PushApiModel.js") as { PushApiModel: new () => Model };
const TestingServer = load("web-push-testing/src/server.js") as new (model: Model, port: number) => {
  _app: (request: IncomingMessage, response: ServerResponse) => void;
  setRequestHandlers(): void;
};

export type Subscription = { endpoint: string; keys: { p256dh: string; auth: string }; clientHash: string };

/**
 * The push service of the npm package web-push-testing, which checks VAPID and decrypts
* the messages. It serves plain HTTP, which the server never calls, so its handlers
 * run behind TLS here; Go programs trust the certificate with SSL_CERT_FILE.
 */
export class PushService {
  readonly #server: Server;
  readonly certificate: string;
  /** The headers of each message, in order of arrival. */
  readonly received: IncomingHttpHeaders[] = [];
  host = "";

  private constructor(dir: string, model: Model) {
    this.certificate = join(dir, "push-service.pem");
    const key = join(dir, "push-service.key");
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost",
      "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", this.certificate], { stdio: "pipe" });
    const testing = new TestingServer(model, 0);
    testing.setRequestHandlers();
    this.#server = createServer({ key: readFileSync(key), cert: readFileSync(this.certificate) }, (req, res) => {
      if (req.url?.startsWith("/notify/")) this.received.push({ ...req.headers });
      testing._app(req, res);
    });
  }

  /** Starts a service whose files are in dir. */
  static async start(dir: string): Promise<PushService> {
    const model = new PushApiModel();
    const service = new PushService(dir, model);
    await new Promise<void>((done) => service.#server.listen(0, "127.0.0.1", done));
    service.host = `localhost:${(service.#server.address() as AddressInfo).port}`;
    model.notifyUrl = `https://${service.host}/notify/`;
    return service;
  }

  /** Subscribes as a browser does. */
  subscribe(applicationServerKey: string): Promise<Subscription> {
    return this.#call("/subscribe", { userVisibleOnly: "true", applicationServerKey });
  }

  /** The messages to a subscription, decrypted. */
  async messages(of: Subscription): Promise<string[]> {
    return (await this.#call<{ messages: string[] }>("/get-notifications", { clientHash: of.clientHash })).messages;
  }

  /** Ends a subscription: messages to it are refused with 410. */
  expire(of: Subscription): Promise<void> {
    return this.#call(`/expire-subscription/${of.clientHash}`, {});
  }

  #call<T>(path: string, body: Record<string, string>): Promise<T> {
    return new Promise((done, failed) => {
      const call = request(`https://${this.host}${path}`, {
        method: "POST", ca: readFileSync(this.certificate), headers: { "Content-Type": "application/json" },
      }, async (response: IncomingMessage) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        if (response.statusCode !== 200) return failed(new Error(`${path}: ${response.statusCode} ${text}`));
        done(text.startsWith("{") ? JSON.parse(text).data : undefined);
      });
      call.on("error", failed).end(JSON.stringify(body));
    });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
