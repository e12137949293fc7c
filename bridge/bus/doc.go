// Package bus is what the buses below it share: the wire format of hints, and [Client],
// which keeps a connection, a queue in front of it and the counters. Each bus is a package
// of its own and implements [bridge.Bus]; bustest is the one suite that all of them pass.
package bus
