import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { root, sample } from "./checkout.js";

// The package that the README's commands create, used in an application.

const dir = mkdtempSync(join(tmpdir(), "falcon-pack-"));
const source = join(root, "clients/js");
const app = join(dir, "app");
const run = (command: string, args: string[], cwd: string) => execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("npm pack creates a package that installs, imports in Node and compiles with its types", { timeout: 180_000 }, () => {
  // In a copy, because prepack builds again while other tests read dist.
  const copy = join(dir, "clients/js");
  cpSync(source, copy, { recursive: true, filter: (path) => !/[\\/](node_modules|dist)$/.test(path) });
  symlinkSync(join(source, "node_modules"), join(copy, "node_modules"));
  cpSync(join(root, "LICENSE"), join(dir, "LICENSE"));
  mkdirSync(app);
  writeFileSync(join(app, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const [pack, install] = sample("clients/js/README.md", "sh", "npm pack").trim().split("\n");
  run("bash", ["-c", pack!.replace("path/to/falconbridge", dir).replace("npm ci && ", "")], dir);
  run("bash", ["-c", `${install!.replace("path/to/falconbridge", dir)} --ignore-scripts --no-audit --no-fund`], app);

  const packed = JSON.parse(run("npm", ["pack", "--silent", "--json", "--dry-run", "--ignore-scripts"], copy)) as [{ files: { path: string }[] }];
  const files = packed[0].files.map((f) => f.path);
  expect(files).toEqual(expect.arrayContaining(["README.md", "LICENSE", "dist/index.js", "dist/index.d.ts", "dist/element.js", "dist/react.d.ts"]));
  expect(files.filter((f) => !/^(dist\/|README\.md$|LICENSE$|package\.json$)/.test(f))).toEqual([]);

  writeFileSync(join(app, "use.mjs"), `
    import { connect, RestError } from "@falconalert/falconbridge";
    import * as elements from "@falconalert/falconbridge/element";
    const inbox = connect({ url: "http://127.0.0.1:9", getToken: () => { throw new Error("no token yet"); }, shareTabs: false });
    inbox.on("error", (error) => { console.log(error.message, typeof RestError, Object.keys(elements).join()); inbox.close(); });`);
  expect(run("node", ["use.mjs"], app).trim()).toBe("no token yet function FalconBell,FalconInbox");

  writeFileSync(join(app, "use.ts"), `
    import { connect, type Notification } from "@falconalert/falconbridge";
    import type { FalconInbox } from "@falconalert/falconbridge/element";
    import { useNotifications } from "@falconalert/falconbridge/react";
    const inbox = connect({ url: "https://falcon.example", getToken: async () => "token" });
    inbox.on("notification", (item: Notification) => item.title.length + item.seq);
    export const undo: () => boolean = inbox.removeLater(27);
    export const element = (node: FalconInbox) => (node.inbox = inbox);
    export const more = (): (() => Promise<unknown>) => useNotifications().fetchMore;
    // @ts-expect-error: ids are numbers
    void inbox.read("27");`);
  symlinkSync(join(source, "node_modules/@types/react"), join(app, "node_modules/@types/react")); // as an application with React has it
  writeFileSync(join(app, "tsconfig.json"), JSON.stringify({
    compilerOptions: { module: "NodeNext", target: "ES2022", lib: ["ES2023", "DOM", "DOM.Iterable"], strict: true, noEmit: true, types: [] }, files: ["use.ts"],
  }));
  const compiled = spawnSync(join(source, "node_modules/.bin/tsc"), ["-p", "."], { cwd: app, encoding: "utf8" });
  expect(compiled.stdout).toBe("");
});
