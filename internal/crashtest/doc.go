// Package crashtest tests the guarantees of falconbridge under faults. Real processes are
// killed, cut off from their servers and drained under load, while devices that use two public
// client libraries stay connected. At the end it compares the posts whose response was 201, the
// history, and what every device received. The package has only tests; `make soak` runs them
// for longer.
package crashtest
