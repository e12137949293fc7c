//go:build !race

package testserver

var raceFlag []string

// Weight is how many times heavier the program is than as it ships.
const Weight = 1
