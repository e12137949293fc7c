// Package bench compares falconbridge with alternatives and with the limits of the machine. All
// of them are measured alternately in one run, because absolute figures vary with the load of
// the machine and only ratios can be compared. `make compare` runs it. The directory peers has
// those that need to be built, and docs/performance.md the results.
package bench
