package broker

import (
	"github.com/falconalert/falconbridge/bridge"
)

// Reason codes of MQTT 5 §2.4. Some are allowed in one kind of packet only. In particular,
// codeShuttingDown may be sent in a DISCONNECT but not in a CONNACK, and codeUnavailable in
// a CONNACK but not in a DISCONNECT. During a drain, connected devices therefore get 0x8B
// (disconnectReason), and a device that logs in gets 0x88 (admission.fullLocked).
const (
	codeSuccess         = 0x00
	codeNoSubscription  = 0x11
	codeContinue        = 0x18
	codeReauthenticate  = 0x19
	codeUnspecified     = 0x80
	codeMalformed       = 0x81
	codeProtocolError   = 0x82
	codeImplementation  = 0x83
	codeVersion         = 0x84
	codeClientID        = 0x85
	codeBadToken        = 0x86
	codeNotAuthorized   = 0x87
	codeUnavailable     = 0x88
	codeBusy            = 0x89
	codeShuttingDown    = 0x8B
	codeBadAuthMethod   = 0x8C
	codeTakenOver       = 0x8E
	codeKeepAlive       = 0x8D
	codeTopicAlias      = 0x94
	codeTooLarge        = 0x95
	codeTooFast         = 0x96
	codeQuota           = 0x97
	codeAdministrative  = 0x98
	codeQoSNotSupported = 0x9B
	codeConnectionRate  = 0x9F
)

// refusal is the reason a CONNECT or AUTH is refused. The zero value is none.
type refusal struct {
	code   byte   // of MQTT 5
	reason string // reason string; never repeats anything the client sent
}

func (r *refusal) Error() string { return r.reason }

// v3 returns the return code of a 3.1.1 CONNACK (MQTT 3.1.1 §3.2.2.3). ok is false if
// 3.1.1 has none for the refusal: the connection is then closed without a CONNACK.
func (r refusal) v3() (code byte, ok bool) {
	switch r.code {
	case codeSuccess:
		return 0, true
	case codeVersion:
		return 1, true
	case codeClientID:
		return 2, true
	case codeUnavailable, codeBusy, codeQuota, codeConnectionRate:
		return 3, true
	case codeBadToken:
		return 4, true
	case codeNotAuthorized:
		return 5, true
	}
	return 0, false
}

// disconnectReason returns the code and reason string of the MQTT 5 DISCONNECT for r. The
// package comment of bridge/delivery lists where each reason comes from.
// A CONNECT that is refused gets a [refusal] instead.
func disconnectReason(r bridge.EndReason) (code byte, reason string) {
	switch r {
	case bridge.EndTakenOver:
		return codeTakenOver, "the same client id connected again"
	case bridge.EndExpired:
		return codeNotAuthorized, "the token has expired or was revoked"
	case bridge.EndSilent:
		return codeUnspecified, "no acknowledgement within the deadline"
	case bridge.EndSlow:
		return codeQuota, "the subscription fell behind"
	case bridge.EndDrain:
		return codeShuttingDown, "the server is shutting down"
	case bridge.EndAdmin:
		return codeAdministrative, "disconnected by an operator"
	case bridge.EndErased:
		return codeAdministrative, "the user was erased"
	case bridge.EndEpoch:
		return codeUnspecified, "the database was restored, connect again"
	}
	return codeUnspecified, ""
}
