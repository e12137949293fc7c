package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// IsForeign reports whether err says that the server spoke something other than MQTT.
func IsForeign(err error) bool {
	return errors.Is(err, mqttwire.ErrMalformed) || errors.Is(err, errFrame)
}

// refusal is a reason code of CONNACK, SUBACK or DISCONNECT.
type refusal struct {
	packet string
	code   byte
	reason string // the reason string that the server gave, or ""
}

func (r refusal) Error() string {
	text := fmt.Sprintf("the server sent %s 0x%02X", r.packet, r.code)
	if r.reason != "" {
		text += ", " + r.reason
	}
	return text
}

// limit returns the reason code, and the reason string if the server gave one.
func (r refusal) limit() string {
	return strings.TrimSuffix(fmt.Sprintf("0x%02X %s", r.code, r.reason), " ")
}

// reasonOf returns the reason string of a CONNACK (MQTT 5 §3.2.2.3.9) if it is the first
// property, as in this server's refusals, or "".
func reasonOf(connack []byte) string {
	if len(connack) < 6 || connack[2] >= 0x80 || connack[3] != 0x1F {
		return ""
	}
	n := int(binary.BigEndian.Uint16(connack[4:]))
	return string(connack[6:min(6+n, len(connack))])
}

// Reason codes after which a retry may succeed (MQTT 5 §3.2.2.2).
const (
	codeBusy           = 0x89
	codeUnavailable    = 0x88
	codeConnectionRate = 0x9F
)

// temporary reports whether the next attempt may succeed, because the server was busy or starting,
// or had accepted too many connections in the last second.
func temporary(err error) bool {
	var r refusal
	return errors.As(err, &r) && (r.code == codeBusy || r.code == codeUnavailable || r.code == codeConnectionRate)
}
