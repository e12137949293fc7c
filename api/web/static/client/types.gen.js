// Written by scripts/generate.mjs from the OpenAPI and AsyncAPI documents. Do not edit.
export {};
