// Package bus contains the common parts of the buses. [Message] defines the wire format
// of hints. [Client] keeps a connection to a server open, and queues and counts the hints
// that are sent over it. Each bus is a package below this one and implements [bridge.Bus];
// inproc is the shortest one to read.
//
// To add a bus:
//
//  1. Write a package below this one, with Options and New, that implements
//     [bridge.Bus] and has a method Stats that returns [Stats], which the metrics read. A
//     bus that uses a server embeds *[Client]. Its Publish calls Enqueue, and its Run passes
//     two functions, which listen and send, to [Client.Run]. A bus that can subscribe per
//     user also implements [bridge.Interest]. The package may import bridge, this package,
//     internal/pgconnect and its client library (the rule for bridge/bus in
//     internal/layout/rules.go).
//  2. Call bustest.Run from its test, with a real server. Add a function that starts one
//     to internal/testserver/servers.go. If the server is a Debian package, add it to
//     .ci/packages.
//  3. In internal/app/app.go, add a case to newBus before the one that compares with
//     config.BusAuto, which takes every other value of --bus as the URL of a Redis.
//     sharedRate in internal/app/listen.go does the same, and has to return nil for the
//     new bus.
//  4. In internal/config, let parseBus (parse.go) accept its URL, and name it in the row
//     "bus" of table.go: Words, Help, More and Remedy. Then run
//     go test ./internal/config -update, which writes docs/configuration.md.
//  5. Restrict its client library to the package: a row in internal/layout/rules.go, and
//     one in .golangci.yml.
//  6. List the package in the row bridge/bus of docs/architecture.md and in
//     TestTheDocumentListsEveryPackage (internal/layout/docs_test.go).
package bus
