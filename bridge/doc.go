// Package bridge is the domain of falconbridge: users, notifications, kinds, reports, topics
// and claims, and the [Service] that package api calls.
//
// The database is the log, and a device is a cursor into it. A notification is a row with a
// gapless [Seq] per user. A persistent device is a [Session] with the Seq up to which it has
// acknowledged. Package delivery reads the log after that Seq and sends to devices. A [Hint]
// announces that there is something to read; if one is lost, delivery is a few seconds late.
//
// The package imports only the standard library. It states what the service needs from
// outside as small interfaces, the fields of [ServiceOptions]: package db implements [Log],
// [History], [Reports], [Cluster] and [Audit], package delivery implements [Waker], the
// buses implement [Publisher], and internal/tracing implements [Tracer].
//
// Other packages use these contracts without the service: package api calls [Devices], which
// package db implements; internal/app runs a [Bus], which gives hints to the [HintHandler]
// in package delivery; if the bus implements [Interest], delivery reports to it which users
// are connected.
package bridge
