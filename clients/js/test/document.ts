import { readFileSync } from "node:fs";

/** Timeout in ms. The parsers take half a second on an idle machine. */
export const timeout = 30_000;

/** A document as a server returns it. The Go tests check that the file has the same content. */
export const served = (name: "asyncapi.json" | "openapi.json") =>
  readFileSync(new URL(`../../../api/testdata/${name}`, import.meta.url), "utf8");

interface Diagnostic {
  /** 0 is an error, 1 a warning, 2 information, 3 a hint. */
  severity: number;
  code: string | number;
  path: (string | number)[];
}

/**
* Errors and warnings as "rule at path". Information is omitted: it only
* says that a newer AsyncAPI exists, which is not a fault of the document.
 */
export function faults(diagnostics: Diagnostic[]): string[] {
  return diagnostics.filter((d) => d.severity <= 1).map((d) => `${d.code} at ${d.path.join(".")}`);
}
