// Helpers for building the page. Text enters the document as text nodes only:
// whatever a notification contains, it is never parsed as markup.

/** Makes an element. Attributes set to null or false are omitted; "on…" are listeners. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const svgSpace = "http://www.w3.org/2000/svg";

/** One of the icons of the page's sprite, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(svgSpace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(svgSpace, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Makes an SVG element. */
export function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Shows or hides by the hidden attribute. */
export const show = (node, visible) => node.toggleAttribute("hidden", !visible);

/** Sets text only if it changed, so that live regions do not repeat themselves. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
