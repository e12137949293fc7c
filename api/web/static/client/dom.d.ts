type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;
/**
 * Makes an element. Attributes that are null, undefined or false are left out; those
 * whose name begins with "on" are listeners. Text enters the document as text nodes
 * only: whatever a notification contains, it is never parsed as markup.
 */
export declare function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes?: Attributes, ...children: Array<Child | Child[]>): HTMLElementTagNameMap[K];
declare const shapes: {
    bell: string;
    "bell-off": string;
    check: string;
    cross: string;
    clock: string;
    note: string;
    trash: string;
    unread: string;
};
export type IconName = keyof typeof shapes;
/** A line drawing of the size of the text around it, hidden from screen readers. */
export declare function icon(name: IconName): SVGElement;
/** Sets text only if it changed, so that live regions do not repeat themselves. */
export declare function setText(node: Node, text: string): void;
/** Shows or hides by the hidden attribute. */
export declare const show: (node: Element, visible: boolean) => boolean;
/** Makes nodes the only children of parent, in order. Moves as few as possible, to keep the focus. */
export declare function arrange(parent: Node, nodes: readonly Node[]): void;
export {};
