//go:build race

package testserver

// raceFlag builds the program as the tests were built, so that they look for its
// races, too.
var raceFlag = []string{"-race"}
