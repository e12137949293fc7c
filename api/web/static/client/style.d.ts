/** Adds the styles to a document or shadow root, once. style-src does not apply to a constructed sheet. */
export declare function dress(root: DocumentOrShadowRoot): void;
