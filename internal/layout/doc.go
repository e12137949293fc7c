// Package layout holds the shape of the tree: which room may import what, and
// how long a file may be. Its tests are the rules; docs/architecture.md tells
// them in words, and .golangci.yml shows them to an editor.
package layout
