package broker

import (
	"context"
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// Verifier verifies tokens; [token.Verifier] implements it. Its error decides the reason
// code that a device gets:
//
//   - [token.ErrUnavailable] and [bridge.ErrUnavailable]: tokens cannot be verified at the
//     moment. 0x88.
//   - [token.ErrExpired], [token.ErrRevoked] and [bridge.ErrForbidden]: the token is genuine
//     but not, or no longer, valid. 0x87.
//   - Any other error: the token is not genuine. 0x86. The device gets the text of a
//     [token.ErrInvalid] as the reason string.
type Verifier interface {
	Verify(ctx context.Context, token string) (bridge.Claims, error)
}

// authMethod is the only authentication method (MQTT 5 §4.12).
const authMethod = "jwt"

// tokenOf returns the token of a CONNECT: the authentication data, else the password, else
// the user name.
func tokenOf(pk *packets.Packet) string {
	for _, b := range [][]byte{pk.Properties.AuthenticationData, pk.Connect.Password, pk.Connect.Username} {
		if len(b) > 0 {
			return string(b)
		}
	}
	return ""
}

// verify returns the claims of the token raw, or the refusal.
func (c *conn) verify(ctx context.Context, raw string) (bridge.Claims, refusal) {
	if raw == "" {
		return bridge.Claims{}, refusal{codeBadToken, "a token is required, as the password"}
	}
	claims, err := c.b.o.Verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		return claims, refusal{}
	case errors.Is(err, token.ErrUnavailable), errors.Is(err, bridge.ErrUnavailable), ctx.Err() != nil:
		return claims, refusal{codeUnavailable, "the token cannot be verified at the moment"}
	case errors.Is(err, token.ErrExpired):
		return claims, refusal{codeNotAuthorized, token.ErrExpired.Error()}
	case errors.Is(err, token.ErrRevoked):
		return claims, refusal{codeNotAuthorized, token.ErrRevoked.Error()}
	case errors.Is(err, bridge.ErrForbidden):
		return claims, refusal{codeNotAuthorized, "the token is not allowed"}
	case errors.Is(err, token.ErrInvalid):
		return claims, refusal{codeBadToken, err.Error()}
	}
	return claims, refusal{codeBadToken, token.ErrInvalid.Error()}
}

// renew handles a re-authentication, AUTH with reason code 0x19: a new token of the same
// user replaces the current one (MQTT 5 §4.12.1). If it fails the connection ends, as the
// standard requires.
func (c *conn) renew(pk *packets.Packet) error {
	switch {
	case pk.ReasonCode != codeReauthenticate: // 0x18 continues an exchange, and there is none
		return &fault{codeProtocolError, "AUTH without an exchange to continue"}
	case pk.Properties.AuthenticationMethod != authMethod: // [MQTT-4.12.1-1]
		return &fault{codeBadAuthMethod, "AUTH with another authentication method"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	claims, r := c.verify(ctx, string(pk.Properties.AuthenticationData))
	switch {
	case r.code == codeUnavailable: // 0x88 is not a DISCONNECT code
		return &refusal{codeBusy, r.reason}
	case r != (refusal{}):
		return &refusal{codeNotAuthorized, r.reason}
	}
	switch err := c.session.Renew(ctx, claims); {
	case errors.Is(err, bridge.ErrForbidden):
		return &refusal{codeNotAuthorized, "the token belongs to another user"}
	case err != nil:
		return &refusal{codeBusy, "the token cannot be verified at the moment"}
	}
	return nil
}
