// Package bridge is the domain of falconbridge: users, notifications, kinds,
// reports, topics and claims, and the [Service] that REST and other edges call.
//
// The database is the log, a device is a cursor into it, everything else is a
// wake-up. A notification is a row with a gapless per-user [Seq]; a persistent
// device is a [Session] with an acknowledged Seq; a [Hint] wakes whoever may have
// something to read. Package delivery is the engine that reads and sends.
//
// The package imports the standard library only. What the service needs from
// outside is stated as small interfaces: [Log], [History], [Reports], [Cluster],
// [Waker] and [Bus].
package bridge
