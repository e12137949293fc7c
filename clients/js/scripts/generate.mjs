// Writes src/types.gen.ts from the OpenAPI and AsyncAPI documents. With --check it
// writes nothing and fails if the file does not match the documents.

import { readFileSync, writeFileSync } from "node:fs";

const read = (name) => JSON.parse(readFileSync(new URL(`../../../api/testdata/${name}`, import.meta.url), "utf8"));
const target = new URL("../src/types.gen.ts", import.meta.url);

const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** The TypeScript type of a JSON schema; name gives the name of a referenced one. */
function type(schema, name, indent = "") {
  if (schema.$ref) return name(schema.$ref.split("/").at(-1));
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(" | ");
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return [...new Set(either.map((s) => type(s, name, indent)))].join(" | ");
  if (schema.allOf) return schema.allOf.map((s) => type(s, name, indent)).join(" & ");
  if (Array.isArray(schema.type)) {
    return schema.type.map((one) => type({ ...schema, type: one }, name, indent)).join(" | ");
  }
  switch (schema.type) {
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "array": {
      const of = type(schema.items ?? {}, name, indent);
      return of.includes(" ") ? `Array<${of}>` : `${of}[]`;
    }
    case "object":
      if (schema.properties) return object(schema, name, indent);
      return `Record<string, ${schema.additionalProperties?.type || schema.additionalProperties?.oneOf ? type(schema.additionalProperties, name, indent) : "unknown"}>`;
    default:
      return "unknown";
  }
}

function object(schema, name, indent) {
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties).flatMap(([key, property]) => {
    const optional = schema.required?.includes(key) ? "" : "?";
    const comment = property.description ? [`${inner}/** ${property.description.replaceAll("*/", "* /")} */`] : [];
    return [...comment, `${inner}${/^\w+$/.test(key) ? key : JSON.stringify(key)}${optional}: ${type(property, name, inner)};`];
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

function declare(schemas, prefix) {
  const name = (key) => prefix + capital(key);
  return Object.entries(schemas)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, schema]) => {
      const comment = schema.description ? `/** ${schema.description} */\n` : "";
      return `${comment}export type ${name(key)} = ${type(schema, name)};\n`;
    });
}

const parts = [
  "// Written by scripts/generate.mjs from the OpenAPI and AsyncAPI documents. Do not edit.\n",
  "// REST\n",
  ...declare(read("openapi.json").components.schemas, ""),
  "// MQTT\n",
  ...declare(read("asyncapi.json").components.schemas, "Live"),
];
const text = parts.join("\n");

if (process.argv.includes("--check")) {
  const there = readFileSync(target, "utf8");
  if (there !== text) {
    console.error("src/types.gen.ts does not match the documents: run npm run generate");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
