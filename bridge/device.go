package bridge

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxRegistrations is how many devices of a user may be registered for Web Push. The
// sessions of a user have a limit of their own, [MaxSessions].
const MaxRegistrations = 32

// RegistrationLife is how long a registration is kept after its last authenticated use:
// being made or renewed, or a connection of its device.
const RegistrationLife = 30 * 24 * time.Hour

// MaxClientID is the longest client id, in bytes.
const MaxClientID = 256

// Registration is how a device is reached by Web Push when it does not answer. An
// endpoint belongs to one registration.
type Registration struct {
	Device   Device
	Endpoint string // where the device's push service takes messages for it
	P256DH   string // the device's public key (RFC 8291), base64url
	Auth     string // the device's authentication secret (RFC 8291), base64url

	// The token that made it. Revoking it removes the registration.
	TokenID  string    // jti, "" where the token has none
	IssuedAt time.Time // iat, zero where the token has none
}

// Check reports the faults of r, but for its endpoint, which the sender judges.
func (r Registration) Check() error {
	var bad InvalidError
	if err := CheckClientID(r.Device.ClientID); err != nil {
		return err
	}
	if b, ok := decodeKey(r.P256DH); !ok || !isPoint(b) {
		bad.Add("body.push.keys.p256dh", "must be an uncompressed P-256 point in base64url")
	}
	if b, ok := decodeKey(r.Auth); !ok || len(b) != 16 {
		bad.Add("body.push.keys.auth", "must be 16 bytes in base64url")
	}
	return bad.Err()
}

func decodeKey(s string) ([]byte, bool) {
	if len(s) > 128 {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	return b, err == nil
}

// isPoint reports whether b is a point on the curve: the key of anything else would
// fail at each attempt.
func isPoint(b []byte) bool {
	_, err := ecdh.P256().NewPublicKey(b)
	return err == nil
}

// CheckClientID reports whether id may be the client id of a path. A path ends in no
// dots: clients and proxies resolve them before they send it.
func CheckClientID(id string) error {
	var bad InvalidError
	switch {
	case id == "" || len(id) > MaxClientID || !utf8.ValidString(id) || strings.IndexByte(id, 0) >= 0:
		bad.Add("path.client_id", "must be 1 to 256 bytes of UTF-8 without NUL")
	case id == "." || id == "..":
		bad.Add("path.client_id", "must not be . or ..")
	}
	return bad.Err()
}

// DeviceInfo is one device of a user as the user sees it.
type DeviceInfo struct {
	ClientID  string
	Push      bool // registered for Web Push
	Session   bool // has a session, and so a cursor
	Connected bool
	LastSeen  time.Time // UTC, millisecond precision
}

// Devices stores registrations. Every call may fail with ErrUnavailable.
type Devices interface {
	// RegisterDevice stores r, in place of an earlier one of the device and of any other
	// registration with that endpoint, whoever's it is. It fails with ErrConflict past
	// MaxRegistrations of a user, and with ErrForbidden where the token was revoked.
	RegisterDevice(ctx context.Context, r Registration) error

	// Registration returns a device's registration; ErrNotFound.
	Registration(ctx context.Context, d Device) (Registration, error)

	// Devices returns the devices of u that are registered, have a session or are
	// connected, ordered by client id.
	Devices(ctx context.Context, u UserID) ([]DeviceInfo, error)

	// RemoveDevice removes a device's registration and session, and orders its
	// connection to end; ErrNotFound where it has none of them.
	RemoveDevice(ctx context.Context, d Device) error

	// Unregister removes r, unless its device was registered again with another
	// endpoint.
	Unregister(ctx context.Context, r Registration) error
}
