// Package crashtest holds the promise of falconbridge against faults: real
// processes are killed, cut off and drained under load, devices come through two
// public client libraries, and a checker compares what was answered with 201,
// what the history holds, and what every device saw. It has tests only; `make
// soak` runs them longer.
package crashtest
