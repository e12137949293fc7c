// Package delivery is the engine that sends notifications to devices.
//
// A [Hub] is the registry of a node's connections. A [Conn] is one of them, with a pump for
// each topic that its device has subscribed to. A pump has a position in the log, reads the
// notifications after that position, and sends as many as the device's window has room for.
// There are no queues, so live delivery, catch-up after a crash, a device that moves to
// another node and a device that reads slowly are all the same code path. Acknowledgements
// move the device's cursor in memory, and cursors are written to the database in batches.
//
// # How a notification gets to a device
//
// A hint is a message that says that a user's log has grown. The node that appended a
// notification sends it to all nodes on a bus (bridge.Hint).
//
//	Hub.Hint       receives the hint and wakes the user's pumps (hub.go)
//	userLog.offer  the pump's source caches the notifications in the hint, or marks
//	               that the log has to be read (source.go)
//	pump.run       reads, checks the claims, assigns packet ids (pump.go, window.go)
//	Link.Send      the broker writes PUBLISH packets (link.go)
//	Conn.Ack       the PUBACK frees room in the window and moves the cursor (cursor.go)
//
// Hints may be lost; a sweep of the log finds what they announced within seconds
// (upkeep.go).
//
// # Who ends a connection
//
// The hub ends a connection with Conn.end, for one of these reasons. bridge.EndReason has
// their names, and broker/codes.go the MQTT reason codes.
//
//	EndExpired    the token expired: before the next message (pump.go, retained.go,
//	              state.go), or without one at most 2 s later (deadlines.go)
//	              the signing key was withdrawn: likewise
//	              the token was revoked: when the node reads the revocation
//	              (revocation_sync.go), or at CONNECT and AUTH (Conn.recheck)
//	              a new token forbids a subscription (Conn.Renew)
//	EndSilent     no acknowledgement for Options.AckWait (deadlines.go)
//	EndTakenOver  the device connected again: on this node (Conn.register, Hub.endOlder), or
//	              on another one, by a hint (hub.go) or an order (node.go)
//	EndSlow       an operator's wildcard subscription fell behind (feed.go)
//	EndAdmin      an operator ended it, by an order (node.go)
//	EndErased     the user was erased, by an order (node.go)
//	EndEpoch      the database was restored (Hub.endAll)
//
// All other ends come from package broker: the drain, errors of the protocol, the keep
// alive, limits, and the device itself. Then the broker calls [Conn.Close].
//
// # Other files
//
// Nodes tell each other through the database which connections they have, which ones to end
// and which tokens are revoked. That is in node.go, changes.go and revocation_sync.go. State
// messages are in state.go, and operators' wildcard subscriptions in feed.go.
//
// The package imports only the standard library and the domain. It declares what it needs
// from other packages as small interfaces: [LogReader], [States], [Sessions], [Feed],
// [Membership], [Pruner], [Acks] and [Link].
package delivery
