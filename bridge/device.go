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

// Registration is what is needed to reach a device by Web Push when it does not acknowledge. An
// endpoint belongs to one registration only.
type Registration struct {
	Device   Device
	Endpoint string // URL at the push service that accepts messages for the device
	P256DH   string // the device's public key (RFC 8291), base64url
	Auth     string // the device's authentication secret (RFC 8291), base64url

	// The token with which it was made. Revoking the token removes the registration.
	TokenID  string    // jti; "": the token has none
	IssuedAt time.Time // iat; zero: the token has none
}

// Check returns an [*InvalidError] with the faults of r, or nil. It does not check the
// endpoint, which the sender does.
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

// isPoint reports whether b is a point on the curve. With any other key, every attempt to
// encrypt a message would fail.
func isPoint(b []byte) bool {
	_, err := ecdh.P256().NewPublicKey(b)
	return err == nil
}

// CheckClientID returns an [*InvalidError] if id cannot be the client id in a path, or nil. "."
// and ".." cannot, because clients and proxies resolve such path segments.
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
	// RegisterDevice stores r. It replaces an earlier registration of the device, and any
	// registration with that endpoint, of whatever user. It fails with ErrConflict past
	// MaxRegistrations of a user, and with ErrForbidden if the token was revoked.
	RegisterDevice(ctx context.Context, r Registration) error

	// Registration returns a device's registration. It fails with ErrNotFound.
	Registration(ctx context.Context, d Device) (Registration, error)

	// Devices returns the devices of u that are registered, have a session or are
	// connected, ordered by client id.
	Devices(ctx context.Context, u UserID) ([]DeviceInfo, error)

	// RemoveDevice removes a device's registration and session, and orders its connection to
	// end. It fails with ErrNotFound if the device has none of them.
	RemoveDevice(ctx context.Context, d Device) error

	// Unregister removes r, unless its device was registered again with another
	// endpoint.
	Unregister(ctx context.Context, r Registration) error
}
