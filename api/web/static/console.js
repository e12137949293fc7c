// The operator console. It uses the public REST API and one wildcard subscription,
// as any operator's tool could.

import { MqttLive } from "../client/live.js";
import { Audit } from "./audit.js";
import { Connections, quiet } from "./connections.js";
import { $, h, setText, show } from "./dom.js";
import { Explain } from "./explain.js";
import { Figures, agesOf, drawNodes, statsEvery } from "./figures.js";
import { startLanguages, t, timeOfDay } from "./i18n.js";
import { Person } from "./person.js";
import { Reports } from "./reports.js";
import { Rest } from "./rest.js";
import { askForToken, drawSignIn, flawOf, signIn, signOut } from "./signin.js";
import { announce, showFailure, toast } from "./toast.js";
import * as tokens from "./token.js";

const filter = document.querySelector('meta[name="falcon-topic"]').content.replace("{user}", "+");
const shownLines = 40;
let board = null;

/** The URL of MQTT over WebSocket, below the path of the page. */
function liveAddress() {
  const url = new URL("mqtt", new URL(".", document.baseURI));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

class Board {
  #token;
  #rest;
  #live;
  #timer = null;
  #closed = false;
  #figures = new Figures();
  #connections;
  #person;
  #explain;
  #reports;
  #audit;
  #read = null; // the last figures: { stats, now, at }, now and at by the clocks of server and page
  #state = "connecting";
  #name; // the prefix of this page's own client id

  constructor(token) {
    this.#token = token;
    this.#rest = new Rest(token);
    this.#name = `console-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}-`;
    const run = (act, done, about) => this.#run(act, done, about);
    const pick = (user) => this.#person.open(user);
    const own = (client) => client.startsWith(this.#name);
    this.#connections = new Connections(this.#rest, run, pick, own);
    this.#person = new Person(this.#rest, run, own, () => this.#audit.refresh());
    this.#explain = new Explain(this.#rest, run, pick);
    this.#reports = new Reports(this.#rest, run, pick);
    this.#audit = new Audit(this.#rest, run, pick);
    this.#live = new MqttLive({ url: liveAddress(), topic: filter, token: async () => token, name: this.#name }, {
      up: () => this.#show("live"),
      down: () => this.#show("connecting"),
      message: (item) => this.#heard(item),
      refused: async () => {
        this.#end();
        return false;
      },
    });
  }

  start() {
    $("stream").replaceChildren(h("li", { class: "none" }, t("streamEmpty")));
    this.#person.draw();
    this.#poll();
    this.#reports.refresh();
    this.#audit.refresh();
    this.#live.start();
    this.#show("connecting");
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#live.stop();
  }

  retryNow() {
    this.#live.retryNow();
  }

  /** Writes the texts in the chosen language. */
  draw() {
    this.#figures.name();
    this.#connections.draw();
    this.#person.draw();
    this.#explain.draw();
    this.#reports.draw();
    this.#audit.draw();
    this.#show(this.#state);
  }

  async #poll() {
    const begun = performance.now();
    try {
      const { body: stats, now } = await this.#rest.timed("admin/stats");
      const took = performance.now() - begun;
      this.#read = { stats, now, at: performance.now() };
      this.#connections.nodes(agesOf(stats, now));
      const [ready, own] = await Promise.all([
        this.#rest.get("readyz").then(() => true, () => false),
        this.#rest.page("admin/connections", { user: tokens.read(this.#token)?.user, match: this.#name, limit: 1 }),
        this.#connections.refresh(),
        this.#person.refresh(),
      ]);
      if (this.#closed) return;
      this.#figures.add(stats, took, own.items.length);
      drawNodes(stats, agesOf(stats, now), ready, quiet);
      show($("trouble"), false);
    } catch (error) {
      if (this.#closed) return;
      if (error.status === undefined) throw error;
      if (error.status === 401 || error.status === 403) return this.#end(error.status);
      setText($("trouble"), t(error.status === 0 ? "awayText" : "statsFailed"));
      show($("trouble"), true);
      this.#drawStale();
    }
    this.#timer = setTimeout(() => this.#poll(), statsEvery);
  }

  // Without new figures the last ones stay, marked with their time, and nodes become silent.
  #drawStale() {
    this.#figures.stale();
    if (!this.#read) return;
    const { stats, now, at } = this.#read;
    const ages = agesOf(stats, now + performance.now() - at);
    this.#connections.nodes(ages);
    this.#connections.draw();
    drawNodes(stats, ages, null, quiet);
  }

  #heard(item) {
    this.#figures.heard(item);
    this.#person.heard(item);
    const stream = $("stream");
    stream.querySelector(".none")?.remove();
    const user = String(item.created_by);
    stream.prepend(h(
      "li",
      {},
      h("time", { datetime: item.created_at }, timeOfDay(new Date(item.created_at))),
      h("button", { type: "button", class: "link strong", onclick: () => this.#person.open(user) }, user),
      h("button", { type: "button", class: "link what", dir: "auto", title: t("explain"), onclick: () => this.#explain.open(String(item.id)) }, item.title),
    ));
    while (stream.children.length > shownLines) stream.lastChild.remove();
  }

  /** Performs an action of the operator on about; done(response) announces its result. */
  async #run(act, done, about) {
    try {
      const answer = await act();
      if (done) {
        toast(done(answer));
        announce(done(answer));
      }
    } catch (error) {
      if (error.status === undefined) throw error;
      if (error.status === 401) this.#end();
      else showFailure(error, about);
    }
  }

  #show(state) {
    this.#state = state;
    $("connection").dataset.state = state;
    setText($("state"), t(state));
  }

  #end(status = 401) {
    if (this.#closed) return;
    leave(status === 403 ? "notAdmin" : flawOf(this.#token) ?? "tokenRefused");
  }
}

function open(token) {
  board?.close();
  board = null;
  const flaw = flawOf(token);
  if (flaw) return leave(flaw);
  tokens.store(token);
  board = new Board(token);
  board.start();
  draw();
}

function leave(why = null) {
  board?.close();
  board = null;
  if (why === "notAdmin") askForToken(why); // the token may still be valid for the inbox
  else signOut(why);
  draw();
}

function draw() {
  drawSignIn(!board);
  show($("board"), Boolean(board));
  show($("connection"), Boolean(board));
  show($("sign-out"), Boolean(board));
  document.title = `falconbridge · ${t("console")}`;
  for (const field of document.querySelectorAll("[data-hint]")) field.placeholder = t(field.dataset.hint);
}

$("sign-out").addEventListener("click", () => leave());
document.addEventListener("language", () => {
  draw();
  board?.draw();
});
addEventListener("online", () => board?.retryNow());

startLanguages();
signIn(open);
draw();
document.documentElement.dataset.ready = "";
