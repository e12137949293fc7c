import { type RulesetDefinition, Spectral } from "@stoplight/spectral-core";
import { oas } from "@stoplight/spectral-rulesets";
import { expect, test } from "vitest";
import { faults, patience, served } from "./document.js";

const text = served("openapi.json");
const spectral = new Spectral();
// Its own type wants an "extends" that a ruleset need not have.
spectral.setRuleset({ extends: [[oas as RulesetDefinition, "recommended"]] });

// Warnings about style that stay, each at its one place.
const accepted = [
  "info-contact at info", // who answers for a server is who runs it, whom the program does not know
  "oas3-unused-component at components.responses.405", // the router's answer on every path, an operation's on none
  "operation-description at paths./healthz.get", // its summary says all
];

test("the served OpenAPI document has no error, and no warning but those accepted", async () => {
  expect(faults(await spectral.run(text)).sort()).toEqual(accepted);
}, patience);

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
  patience,
);
