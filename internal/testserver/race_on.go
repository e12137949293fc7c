//go:build race

package testserver

// raceFlag builds the program as the tests were built, so that they look for its
// races, too.
var raceFlag = []string{"-race"}

// Weight is how many times heavier the program is than as it ships: the race
// detector takes five to ten times the memory.
const Weight = 5
