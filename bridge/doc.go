// Package bridge is the domain of falconbridge: users, notifications, kinds, reports, topics
// and claims, and the [Service] that REST and other edges call.
//
// The database is the log, a device is a cursor into it, and everything else is a wake-up. A
// notification is a row with a gapless [Seq] per user. A persistent device is a [Session]
// with the Seq up to which it has acknowledged. A [Hint] wakes the nodes that may have
// something to read. Package delivery reads the log and sends to devices.
//
// The package imports only the standard library. It states what the service needs from
// outside as small interfaces: [Log], [History], [Reports], [Cluster], [Audit], [Waker] and
// [Publisher]. [Bus] and [Devices] are contracts between other packages.
package bridge
