//go:build race

package testserver

// raceFlag makes Binary build the program with the race detector if the tests were built with
// it.
var raceFlag = []string{"-race"}

// Weight is the factor by which the program needs more memory than a release build. The race
// detector needs five to ten times as much.
const Weight = 5
