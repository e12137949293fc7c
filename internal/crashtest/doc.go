// Package crashtest tests the guarantees of falconbridge under faults. Real processes are
// killed, cut off from their servers and drained under load, while devices that use two public
// client libraries reconnect. At the end each test compares the posts whose response was 201,
// the history, and the notifications that every device received. The package contains only
// tests, and `make soak` runs them for longer.
package crashtest
