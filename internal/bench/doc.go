// Package bench generates load for a running server. It posts over HTTP, connects devices over
// MQTT, and counts the notifications that arrive, are lost, duplicated or misrouted.
//
// A load generator on the same machine must cost less than the server. So a device is one
// goroutine with a small buffer, packets are encoded without a client library, and the
// acknowledgements of one read go out in one write. A load connects only to the addresses of its
// [Target], and ends at the bounds that it was given.
package bench
