// Package bench compares falconbridge with its alternatives and with the limits of the
// machine. All peers are measured in the same run, in turns, because only the ratios mean
// anything: the absolute figures vary with the load of the machine. `make compare` runs
// it, peers/ has the peers that have to be built, and docs/performance.md has the results.
package bench
