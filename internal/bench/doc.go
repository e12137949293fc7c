// Package bench generates load for a running server: it posts over HTTP, connects devices
// over MQTT, and counts the notifications that arrive, are lost, duplicated or misrouted.
//
// A load generator on the same machine must cost less than the server. So a device is one
// goroutine and one small buffer, packets are encoded without a client library, and the
// acknowledgements of one read go out in one write. A load connects to the addresses of
// its [Target] only, and ends at the bounds it was given.
package bench
