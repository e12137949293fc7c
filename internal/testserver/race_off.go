//go:build !race

package testserver

var raceFlag []string
