// Package bench loads a running server from outside: it posts over HTTP, holds
// devices over MQTT, and counts what arrives, when, and where it should not have.
//
// It is written to cost less than what it measures: packets are made by hand, a
// device is one goroutine and one small buffer, and the acknowledgements of one
// read go out in one write. It connects to the addresses of its [Target] only, and
// ends by the bounds it was given.
package bench
