import { readFileSync } from "node:fs";

/** The parsers read in half a second; a busy machine gets this many milliseconds. */
export const patience = 30_000;

/** A document as a server answers it; the Go tests hold that the file is what it answers. */
export const served = (name: "asyncapi.json" | "openapi.json") =>
  readFileSync(new URL(`../../../api/testdata/${name}`, import.meta.url), "utf8");

interface Diagnostic {
  /** 0 is an error, 1 a warning, 2 information, 3 a hint. */
  severity: number;
  code: string | number;
  path: (string | number)[];
}

/**
 * Errors and warnings as "rule at path". What is only information is left out: it
 * says that a newer AsyncAPI exists, which makes no document wrong.
 */
export function faults(diagnostics: Diagnostic[]): string[] {
  return diagnostics.filter((d) => d.severity <= 1).map((d) => `${d.code} at ${d.path.join(".")}`);
}
