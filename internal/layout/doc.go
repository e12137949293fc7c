// Package layout tests the structure of the tree: which package may import what, the
// licences of the dependencies, and what the documents claim about packages, interfaces,
// files and tests. docs/architecture.md describes the rules, and .golangci.yml shows those
// about imports in an editor.
package layout
