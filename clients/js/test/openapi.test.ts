import { type RulesetDefinition, Spectral } from "@stoplight/spectral-core";
import { oas } from "@stoplight/spectral-rulesets";
import { expect, test } from "vitest";
import { faults, timeout, served } from "./document.js";

const text = served("openapi.json");
const spectral = new Spectral();
// Its type requires an "extends" that a ruleset need not have.
spectral.setRuleset({ extends: [[oas as RulesetDefinition, "recommended"]] });

// Accepted warnings about style, each in one place.
const accepted = [
  "info-contact at info", // the contact is the operator, whom the program does not know
  "oas3-unused-component at components.responses.405", // returned by the router, not by an operation
  "operation-description at paths./healthz.get", // its summary is enough
];

test("the served OpenAPI document has no errors, and only accepted warnings", async () => {
  expect(faults(await spectral.run(text)).sort()).toEqual(accepted);
}, timeout);

test.each([
  ["a reference to nothing", '"#/components/responses/401"', '"#/components/responses/none"', /^invalid-ref at paths\./],
  ["a parameter that its path has not", '"/notifications/{id}":', '"/notifications/{none}":', /^path-params at paths\.\/notifications\/\{none\}/],
  ["a schema of an unknown type", '"type": "integer"', '"type": "whole"', /^oas3-schema at .*\.type$/],
  ["no version", '"version": "test"', '"edition": "test"', /^oas3-schema at info$/],
])(
  "a broken copy is refused: %s",
  async (_, good, bad, fault) => {
    expect(text).toContain(good);
    const found = faults(await spectral.run(text.replace(good, bad)));
    expect(found).toContainEqual(expect.stringMatching(fault));
  },
  timeout,
);
