import { type Browser, type BrowserContext, chromium } from "playwright-core";

// Tests run in containers, often as root, where Chromium's sandbox does not start.
const options = (args: string[]) => ({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", ...args] });

/** Starts the Chromium of $CHROMIUM, or the system's, with further arguments. */
export const launch = (...args: string[]): Promise<Browser> => chromium.launch(options(args));

/** Starts it with one profile, kept in dir. The contexts of a launched browser are incognito ones. */
export const launchProfile = (dir: string): Promise<BrowserContext> => chromium.launchPersistentContext(dir, options([]));
