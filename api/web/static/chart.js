// Small live charts: a figure with its label, and its last minutes as a line
// between two axes.

import { h, s, setText } from "./dom.js";

const width = 240;
const height = 64;
const keep = 36; // samples
const fewest = 2; // known samples that make a line

/** The end of an axis: the smallest of 1, 2, 5 times a power of ten that is at least v. */
function roundUp(v) {
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= v * 0.999);
}

export class Chart {
  #samples = []; // numbers; null if unknown
  #last = null; // the value shown
  #unitOf;
  #value = h("strong", { class: "figure" });
  #unit = h("span", { class: "unit" });
  #note = h("p", { class: "hint" });
  #label = h("figcaption", {});
  #line = s("path", { class: "stroke" });
  #area = s("path", { class: "area" });
  #top = h("span", {});
  #from = h("span", {});
  #to = h("span", {});
  #format;
  #least;

  /** format formats a value of the figure and the axis; least is the smallest end of the axis. */
  constructor(format, least = 1) {
    this.#format = format;
    this.#least = least;
    const grid = s("path", { class: "grid", d: `M0 1H${width}M0 ${height / 2}H${width}M0 ${height - 1}H${width}` });
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" }, grid, this.#area, this.#line);
    // The line only repeats visually what the figure says in words.
    const plot = h("div", { class: "plot", "aria-hidden": "true" },
      h("div", { class: "axis y" }, this.#top, h("span", {}, format(0))), svg, h("div", { class: "axis x" }, this.#from, this.#to));
    this.node = h("figure", { class: "card chart" }, this.#label, h("p", {}, this.#value, " ", this.#unit), this.#note, plot);
  }

  /** Sets the name, the ends of the time axis, and the unit, a function of the value. */
  name(text, unitOf, from, to) {
    this.#unitOf = unitOf;
    setText(this.#label, text);
    setText(this.#unit, unitOf(this.#last));
    setText(this.#from, from);
    setText(this.#to, to);
  }

  /** Adds a sample and draws. note explains the figure. */
  add(value, note) {
    this.#push(value);
    this.#last = value;
    setText(this.#unit, this.#unitOf(value));
    setText(this.#value, value === null ? "–" : this.#format(value));
    setText(this.#note, note);
    this.#draw();
  }

  /** Adds an unknown sample, and leaves the figure as it is. */
  skip() {
    this.#push(null);
    this.#draw();
  }

  #push(value) {
    this.#samples.push(value);
    if (this.#samples.length > keep) this.#samples.shift();
  }

  #draw() {
    const known = this.#samples.filter((v) => v !== null);
    const top = roundUp(Math.max(...known, this.#least));
    setText(this.#top, this.#format(top));
    const x = (i) => (width * (i + keep - this.#samples.length)) / (keep - 1);
    const y = (v) => height - 1 - (height - 2) * (v / top);
    let line = "";
    let from = 0;
    let last = 0;
    this.#samples.forEach((v, i) => {
      if (v === null) return;
      if (!line) from = x(i);
      line += `${line ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      last = x(i);
    });
    if (known.length < fewest) line = "";
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", line ? `${line}L${last.toFixed(1)} ${height}L${from.toFixed(1)} ${height}Z` : "");
  }
}

/** The length of the time axis in minutes, with a sample every so many ms. */
export const minutes = (every) => Math.round((keep * every) / 60_000);
