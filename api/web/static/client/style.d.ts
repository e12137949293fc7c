/** Gives a document or shadow root the look, once. A constructed sheet needs nothing in style-src. */
export declare function dress(root: DocumentOrShadowRoot): void;
