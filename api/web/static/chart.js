// Small live charts: a figure with what it counts, and its last minutes as a line
// between two axes.

import { h, s, setText } from "./dom.js";

const width = 240;
const height = 64;
const keep = 36; // samples
const fewest = 2; // known samples that make a line

/** The least of 1, 2, 5 times a power of ten that is not below v: where an axis ends. */
function roundUp(v) {
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= v * 0.999);
}

export class Chart {
  #samples = []; // numbers; null where nothing is known
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

  /** format writes a value on the figure and the axis; least is what the axis reaches at least. */
  constructor(format, least = 1) {
    this.#format = format;
    this.#least = least;
    const grid = s("path", { class: "grid", d: `M0 1H${width}M0 ${height / 2}H${width}M0 ${height - 1}H${width}` });
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" }, grid, this.#area, this.#line);
    // The line repeats for the eye what the figure says in words.
    const plot = h("div", { class: "plot", "aria-hidden": "true" },
      h("div", { class: "axis y" }, this.#top, h("span", {}, format(0))), svg, h("div", { class: "axis x" }, this.#from, this.#to));
    this.node = h("figure", { class: "card chart" }, this.#label, h("p", {}, this.#value, " ", this.#unit), this.#note, plot);
  }

  /** Writes what it is, its unit, and the ends of its time axis. */
  name(text, unit, from, to) {
    setText(this.#label, text);
    setText(this.#unit, unit);
    setText(this.#from, from);
    setText(this.#to, to);
  }

  /** Adds a sample and draws. note says what the figure counts. */
  add(value, note) {
    this.#samples.push(value);
    if (this.#samples.length > keep) this.#samples.shift();
    setText(this.#value, value === null ? "–" : this.#format(value));
    setText(this.#note, note);
    this.#draw();
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

/** How far the time axis reaches back, in minutes, with a sample every so many ms. */
export const minutes = (every) => Math.round((keep * every) / 60_000);
