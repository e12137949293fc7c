// Package layout tests the structure of the repository: which package may import which, the
// licences of the dependencies, and that the packages, interfaces, files and tests which the
// documents name exist. docs/architecture.md describes the rules. Those about imports are also in
// .golangci.yml, so that editors show them.
package layout
