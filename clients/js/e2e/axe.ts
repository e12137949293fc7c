import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { root } from "./checkout.js";

const source = readFileSync(join(root, "api/web/testdata/axe-core-4.14.1/axe.min.js"), "utf8");

interface Report {
  violations: { id: string; nodes: { html: string }[] }[];
  passes: unknown[];
}

/** The violations that axe-core finds on the current page. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(source);
  const report = await page.evaluate(() => (window as unknown as { axe: { run(): Promise<Report> } }).axe.run());
  if (report.passes.length === 0) return ["axe-core checked nothing"];
  return report.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`);
}
