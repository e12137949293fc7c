import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";
import { violations } from "./axe.js";

const folder = process.env["SCREENSHOTS"];

/** A screen: its width in px and its colour scheme. */
export type Screen = readonly [width: number, scheme: "light" | "dark"];

/** The screens on which every state of the pages is checked. */
export const screens: readonly Screen[] = [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]];

/** A browser context for a screen. The narrow ones are phones. */
export function contextFor([width, colorScheme]: Screen): BrowserContextOptions {
  const phone = width < 600;
  return { viewport: { width, height: phone ? 844 : 800 }, hasTouch: phone, isMobile: phone, colorScheme, locale: "en-US", timezoneId: "UTC" };
}

/**
 * Checks a page in its current state: axe-core finds no violation, and nothing scrolls sideways.
 * With SCREENSHOTS=<folder>, saves a picture there, as `npm run screenshots` does.
 */
export async function check(page: Page, [width, scheme]: Screen, name: string, fullPage = false): Promise<void> {
  expect(await violations(page), name).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth), name).toBeLessThanOrEqual(width);
  if (!folder) return;
  const path = join(folder, `${name}-${width}-${scheme}.png`);
  mkdirSync(dirname(path), { recursive: true });
  await page.screenshot({ path, fullPage, animations: "disabled", caret: "hide" });
}
