// Package broker serves MQTT 3.1.1 and 5 over TCP, TLS and WebSocket.
//
// mochi-mqtt is the broker. It handles every packet of a device but the two of
// delivery, and asks its one hook, [hook], who may log in and subscribe. Sessions and
// delivery are the hub's. What mochi does not do stands in front of it: listeners,
// limits, deadlines, and the check of each packet (inspect.go, strict.go).
//
// # The life of a connection
//
// Each step is one function of ours or one hook of mochi's, in this order;
// TestMochiCallsItsHooksInTheOrderThatWeRelyOn fails where an update of mochi changes it.
//
//	accept       ServeTCP, upgrade      a place among the pending connections
//	             arrive                 PROXY header, TLS handshake
//	CONNECT      first                  size, form and version, before mochi sees it
//	             handshake              mochi's EstablishConnection:
//	             - OnPacketRead           takes the client id, the will and an empty password
//	             - OnConnect              the keepalive
//	             - OnConnectAuthenticate  limits, token, session on disk
//	             - OnPacketEncode         the CONNACK's code and properties
//	             - OnSessionEstablished   delivery resumes
//	each packet  next, pass             framing, rates, form; PUBACK ends here
//	             serve                  mochi's InjectPacket:
//	SUBSCRIBE    - OnACLCheck             for each filter: does the token allow it
//	             - OnSubscribed           stores what it allows, decides the SUBACK's codes
//	             - OnPacketEncode         the SUBACK's reason string
//	             - OnPacketProcessed      delivery starts, after the SUBACK
//	UNSUBSCRIBE  - OnUnsubscribe          removes the subscriptions
//	             - OnPacketEncode         the UNSUBACK's codes
//	AUTH         - OnAuthPacket           renews the token
//	PUBLISH      - OnACLCheck             refuses it; mochi answers 0x87
//	the end      End                    the hub's reason: DISCONNECT through mochi
//	             fail                   the device's fault: likewise
//	             finish                 the session closes, mochi forgets the client
//
// A message does not go through mochi: a pump of the hub calls [conn.Send], and the
// device's PUBACK calls [delivery.Conn.Ack].
//
// # Goroutines
//
// A connection has one goroutine, which waits and frames in shallow calls, so that an
// idle device keeps the smallest stack. What needs a deep one (TLS, mochi, the
// database) runs on a goroutine that ends with the packet, see [conn.isolate]. mochi's
// own loops, two goroutines a client, do not run.
package broker
