// Package crashtest tests the guarantees of falconbridge under faults: real processes are
// killed, cut off and drained under load, devices use two public client libraries, and a
// checker compares the posts whose response was 201, the history, and what every device
// received. It has tests only; `make soak` runs them longer.
package crashtest
