// Package broker serves MQTT 3.1.1 and 5 over TCP, TLS and WebSocket.
//
// The MQTT engine is mochi-mqtt. It handles every packet except PUBLISH to a device and
// the PUBACK for it, and asks one hook (hook.go) who may log in and subscribe. Sessions and
// delivery belong to [delivery.Hub]. What mochi lacks is done in front of it: listeners,
// limits, deadlines, and a strict check of every packet (inspect.go, strict.go).
//
// # The life of a connection
//
// The table lists the steps in their order. The second column names functions of this
// package, and with a dash methods of hook, which mochi calls.
// TestMochiCallsItsHooksInTheOrderThatWeRelyOn fails if an update of mochi changes the
// order of the hooks.
//
//	accept       ServeTCP, upgrade      counted as a pending connection
//	             openTransport          PROXY header, TLS handshake
//	CONNECT      readConnect            size, syntax and version, before mochi sees it
//	             handshake              mochi's EstablishConnection:
//	             - OnPacketRead           replaces the client id, drops the will
//	             - OnConnect              clamps the keep alive
//	             - OnConnectAuthenticate  limits, token, session on disk
//	             - OnPacketEncode         the CONNACK's code and properties
//	             - OnSessionEstablished   delivery resumes
//	each packet  readPacket, inspect    framing, rates, syntax; a PUBACK is handled here
//	             handlePacket           mochi's InjectPacket, for other packets:
//	SUBSCRIBE    - OnACLCheck             whether the token allows each filter
//	             - OnSubscribed           stores the allowed ones, sets the SUBACK's codes
//	             - OnPacketEncode         the SUBACK's reason string
//	             - OnPacketProcessed      delivery starts, after the SUBACK
//	UNSUBSCRIBE  - OnUnsubscribe          removes the subscriptions
//	             - OnPacketEncode         the UNSUBACK's codes
//	AUTH         - OnAuthPacket           replaces the token
//	PUBLISH      - OnACLCheck             refuses it; mochi responds with 0x87
//	the end      End                    by the hub or a drain: DISCONNECT through mochi
//	             fail                   by a fault of the device: DISCONNECT through mochi
//	             finish                 closes the session, removes mochi's client
//
// Messages bypass mochi: a pump of the hub calls conn.Send, and the device's PUBACK
// calls [delivery.Conn.Ack].
//
// # Goroutines
//
// A connection has one goroutine. While it waits for a packet its calls are shallow, so
// an idle device keeps the smallest stack that Go has, 2 KiB. Work that needs a deep
// stack (TLS, mochi, the database) runs on a goroutine that ends with the packet; see
// conn.isolate. mochi would start two goroutines for each client, for its read and write
// loops; we never start them.
package broker
