//go:build !race

package testserver

var raceFlag []string

// Weight is the factor by which the program needs more memory than a release build.
const Weight = 1
