// The operator console. It uses the public REST side and one wildcard subscription,
// as any operator's own tool could.

import { MqttLive } from "../client/live.js";
import { Connections } from "./connections.js";
import { $, h, setText, show } from "./dom.js";
import { Figures, drawNodes, statsEvery } from "./figures.js";
import { startLanguages, t, timeOfDay } from "./i18n.js";
import { Person } from "./person.js";
import { Reports } from "./reports.js";
import { Rest } from "./rest.js";
import { askForToken, drawSignIn, flawOf, signIn, signOut } from "./signin.js";
import { announce, tellFailure, toast } from "./toast.js";
import * as tokens from "./token.js";

const filter = document.querySelector('meta[name="falcon-topic"]').content.replace("{user}", "+");
const shownLines = 40;
let board = null;

/** MQTT over WebSocket, below the path that the page was served from. */
function liveAddress() {
  const url = new URL("mqtt", new URL(".", document.baseURI));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

class Board {
  stats = null;
  #token;
  #rest;
  #live;
  #timer = null;
  #closed = false;
  #figures = new Figures();
  #connections;
  #person;
  #reports;
  #state = "connecting";

  constructor(token) {
    this.#token = token;
    this.#rest = new Rest(token);
    const run = (act, done, about) => this.#run(act, done, about);
    const pick = (user) => this.#person.open(user);
    this.#connections = new Connections(this.#rest, pick);
    this.#person = new Person(this.#rest, run);
    this.#reports = new Reports(this.#rest, run, pick);
    this.#live = new MqttLive({ url: liveAddress(), topic: filter, token: async () => token, name: "console-" }, {
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
    this.#live.start();
    this.#show("connecting");
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#live.stop();
  }

  hurry() {
    this.#live.hurry();
  }

  /** Words in the chosen language. */
  draw() {
    this.#figures.name();
    this.#connections.draw();
    this.#person.draw();
    this.#reports.draw();
    this.#show(this.#state);
  }

  async #poll() {
    const begun = performance.now();
    try {
      const stats = await this.#rest.get("admin/stats");
      const took = performance.now() - begun;
      const [ready] = await Promise.all([this.#rest.get("readyz").then(() => true, () => false), this.#connections.refresh()]);
      if (this.#closed) return;
      this.#figures.add(stats, took);
      drawNodes(stats, ready);
      show($("trouble"), false);
    } catch (error) {
      if (this.#closed) return;
      if (error.status === undefined) throw error;
      if (error.status === 401 || error.status === 403) return this.#end(error.status);
      setText($("trouble"), t(error.status === 0 ? "awayText" : "statsFailed"));
      show($("trouble"), true);
    }
    this.#timer = setTimeout(() => this.#poll(), statsEvery);
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
      h("span", { dir: "auto" }, item.title),
    ));
    while (stream.children.length > shownLines) stream.lastChild.remove();
  }

  /** Does what the operator asked for; done(answer) says that it is done, about names to what. */
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
      else tellFailure(error, about);
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
  if (why === "notAdmin") askForToken(why); // it may still be good for the inbox
  else signOut(why);
  draw();
}

function draw() {
  drawSignIn(!board);
  show($("board"), Boolean(board));
  show($("connection"), Boolean(board));
  show($("sign-out"), Boolean(board));
  document.title = `falconbridge · ${t("console")}`;
  $("who").placeholder = t("userId");
}

$("sign-out").addEventListener("click", () => leave());
document.addEventListener("language", () => {
  draw();
  board?.draw();
});
addEventListener("online", () => board?.hurry());

startLanguages();
signIn(open);
draw();
document.documentElement.dataset.ready = "";
