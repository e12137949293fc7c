/**
 * Makes an element. Attributes that are null, undefined or false are left out; those
 * whose name begins with "on" are listeners. Text enters the document as text nodes
 * only: whatever a notification contains, it is never parsed as markup.
 */
export function h(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false)
            continue;
        if (typeof value === "function")
            node.addEventListener(name.slice(2), value);
        else
            node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat().filter((c) => Boolean(c)));
    return node;
}
const shapes = {
    bell: "M6 16V11a6 6 0 0 1 12 0v5l2 2H4l2-2Zm4 4.5a2 2 0 0 0 4 0",
    "bell-off": "M8.5 6.1A6 6 0 0 1 18 11v4M6 10v6l-2 2h13M10 20.5a2 2 0 0 0 4 0M4 4l16 16",
    check: "m5 12.5 4.5 4.5L19 7.5",
    cross: "m7 7 10 10M17 7 7 17",
    clock: "M12 4.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM12 8v4.5l3 1.8",
    note: "M5 6.5h14v9H12l-4 3.5v-3.5H5v-9Z",
    trash: "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7M10.5 10.5v5M13.5 10.5v5",
    unread: "M4 7h16v11H4ZM4 7l8 6 8-6",
};
/** A line drawing of the size of the text around it, hidden from screen readers. */
export function icon(name) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const path = document.createElementNS(space, "path");
    for (const [key, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"], ["class", "icon"]])
        svg.setAttribute(key, value);
    for (const [key, value] of [
        ["d", shapes[name]], ["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "1.8"], ["stroke-linecap", "round"], ["stroke-linejoin", "round"],
    ])
        path.setAttribute(key, value);
    svg.append(path);
    return svg;
}
/** Sets text only if it changed, so that live regions do not repeat themselves. */
export function setText(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}
/** Shows or hides by the hidden attribute. */
export const show = (node, visible) => node.toggleAttribute("hidden", !visible);
/** Makes nodes the only children of parent, in order. Moves as few as possible, to keep the focus. */
export function arrange(parent, nodes) {
    let at = parent.firstChild;
    for (const node of nodes) {
        if (node === at)
            at = at.nextSibling;
        else
            parent.insertBefore(node, at);
    }
    while (at) {
        const next = at.nextSibling;
        at.remove();
        at = next;
    }
}
