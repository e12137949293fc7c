// Small live charts: a figure, its unit, and its last minutes as a line.

import { h, s, setText } from "./dom.js";

const width = 240;
const height = 56;
const keep = 36; // samples
const fewest = 3; // known samples that make a line: fewer are a stray stroke at the edge

export class Chart {
  #samples = []; // numbers; null where nothing is known
  #value = h("strong", { class: "figure" });
  #note = h("span", { class: "hint" });
  #label = h("figcaption", {});
  #line = s("path", { class: "stroke" });
  #area = s("path", { class: "area" });
  #svg;
  #format;

  constructor(format) {
    this.#format = format;
    // The line is told in words by the figure above it.
    this.#svg = s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#area, this.#line);
    this.node = h("figure", { class: "card chart" }, this.#label, h("p", {}, this.#value, this.#note), this.#svg);
  }

  name(text) {
    setText(this.#label, text);
  }

  /** Adds a sample and draws. note stands small beside the figure. */
  add(value, note = "") {
    this.#samples.push(value);
    if (this.#samples.length > keep) this.#samples.shift();
    setText(this.#value, value === null ? "–" : this.#format(value));
    setText(this.#note, note);
    this.#draw();
  }

  #draw() {
    const known = this.#samples.filter((v) => v !== null);
    const top = Math.max(...known, 1e-9);
    const x = (i) => (width * (i + keep - this.#samples.length)) / (keep - 1);
    const y = (v) => height - 3 - (height - 8) * (top > 1e-9 ? v / top : 0);
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
