import { describe, expect, test } from "vitest";
import { readToken, renewIn } from "../src/token.js";
import { token } from "./server.js";

describe("reading a token", () => {
  test.each<[string, string, string | undefined]>([
    ["a number", token(42), "42"],
    ["a string with accents in other claims", `e30.${Buffer.from('{"sub":"ana","name":"Peña","exp":1}').toString("base64url")}.x`, "ana"],
    ["no subject", `e30.${Buffer.from('{"exp":1}').toString("base64url")}.x`, undefined],
    ["an object as subject", `e30.${Buffer.from('{"sub":{}}').toString("base64url")}.x`, undefined],
    ["not a token", "nonsense", undefined],
    ["nothing", "", undefined],
  ])("%s", (_, text, user) => expect(readToken(text)?.user).toBe(user));
});

describe("when to renew", () => {
  const minute = 60_000;
  test.each([
    ["an hour: a minute before", 60 * minute, 59 * minute],
    ["five minutes: a tenth before", 5 * minute, 4.5 * minute],
    ["over: soon, but not in a loop", -minute, 1_000],
    ["a year: asked again after a day", 365 * 24 * 60 * minute, 24 * 60 * minute],
    ["never", Infinity, 24 * 60 * minute],
  ])("%s", (_, left, want) => expect(renewIn(1_000 + left, 1_000)).toBe(want));
});
