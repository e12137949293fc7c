import { describe, expect, test } from "vitest";
import { readToken, Schedule } from "../src/token.js";
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
  const now = 1_800_000_000_000;
  /** A token issued that long ago by a clock that much behind this one. */
  const claims = (life: number, { age = 0, ahead = 0, iat = true } = {}) =>
    ({ user: "1", issued: iat ? now - age - ahead : null, expires: now - age - ahead + life });

  test.each([
    ["an hour: a minute before", claims(60 * minute), 59 * minute],
    ["five minutes: a tenth before", claims(5 * minute), 4.5 * minute],
    ["eight seconds: two before, as iat may be a second early", claims(8_000), 6_000],
    ["a year: asked again after a day", claims(365 * 24 * 60 * minute), 24 * 60 * minute],
    ["never", claims(Infinity), 24 * 60 * minute],
    ["a clock an hour ahead", claims(10 * minute, { ahead: 60 * minute }), 9 * minute],
    ["a clock an hour behind", claims(10 * minute, { ahead: -60 * minute }), 9 * minute],
    ["without iat, by the clock", claims(10 * minute, { iat: false }), 9 * minute],
    ["over, without iat: not in a loop", claims(10 * minute, { age: 20 * minute, iat: false }), 1_000],
  ])("%s", (_, c, want) => expect(new Schedule().next("a", c, now)).toBe(want));

  test("tokens that arrive expired are requested with growing pauses, a valid one in time", () => {
    const s = new Schedule();
    const over = claims(10 * minute, { age: 20 * minute, iat: false });
    const waits = Array.from({ length: 12 }, (_, i) => s.next(String(i), over, now) / 1000);
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    expect(s.next("good", claims(10 * minute), now)).toBe(9 * minute);
    expect(s.next("over", over, now)).toBe(1_000);
  });

  test("a cached token is renewed by its remaining life, once the clock's error is known", () => {
    const s = new Schedule();
    s.next("fresh", claims(60 * minute, { ahead: 30 * minute }), now);
    expect(s.next("cached", claims(60 * minute, { ahead: 30 * minute, age: 40 * minute }), now)).toBe(19 * minute);
  });

  test("the same token again does not count as newer", () => {
    const s = new Schedule();
    s.next("a", claims(60 * minute), now);
    expect(s.next("b", claims(60 * minute), now)).toBe(59 * minute);
    expect(s.next("b", claims(60 * minute), now + 59 * minute)).toBe(54_000);
  });

  test("the error of a clock that was changed is known again with the second token", () => {
    const s = new Schedule();
    s.next("a", claims(10 * minute), now);
    expect(s.next("b", claims(10 * minute, { ahead: 60 * minute }), now)).toBe(1_000);
    expect(s.next("c", claims(10 * minute, { ahead: 60 * minute }), now)).toBe(9 * minute);
  });
});
