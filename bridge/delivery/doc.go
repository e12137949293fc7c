// Package delivery is the engine that sends notifications to devices.
//
// A [Hub] is the registry of a node's connections. A [Conn] is one of them, with a pump for
// each topic that its device has subscribed to. A pump reads the log after its position and
// sends as many notifications as the device's window has room for. There are no queues, so
// live delivery, catch-up after a crash, a device that moves to another node and a device
// that reads slowly are all the same code path. Acknowledgements move the device's cursor
// in memory, and cursors are written to the database in batches.
//
// How a notification gets to a device:
//
//	Hub.Hint       a hint says that a user's log grew (hub.go)
//	userLog.offer  the pump's source caches the notifications in the hint, or marks
//	               that the log has to be read (source.go)
//	pump.run       reads, checks the claims, assigns packet ids (pump.go, window.go)
//	Link.Send      the broker writes PUBLISH packets (link.go)
//	Conn.Ack       the PUBACK frees room in the window and moves the cursor (cursor.go)
//
// Hints may be lost; a sweep of the log repairs that within seconds (upkeep.go). What nodes
// tell each other through the database (connections, orders to disconnect, revoked tokens)
// is in node.go, changes.go and revocation_sync.go, state messages are in state.go, and
// operators' wildcard subscriptions in feed.go.
//
// The package imports only the standard library and the domain. It states what it needs
// from outside as small interfaces: [Log], [States], [Sessions], [Feed], [Cluster],
// [Pruner], [Acks] and [Link].
package delivery
