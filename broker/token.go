package broker

import (
	"context"
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// Verifier verifies tokens; [token.Verifier] is one. Its error decides the code that a
// device gets. [token.ErrUnavailable] and [bridge.ErrUnavailable]: tokens cannot be
// verified now. [token.ErrExpired], [token.ErrRevoked] and [bridge.ErrForbidden]: the token
// is genuine, but no longer valid. Every other error: the token is not genuine. The text
// of a token.ErrInvalid is shown to the device.
type Verifier interface {
	Verify(ctx context.Context, token string) (bridge.Claims, error)
}

// authMethod is the one authentication method (MQTT 5 §4.12).
const authMethod = "jwt"

// tokenOf finds the token: the authentication data, else the password, else the
// username.
func tokenOf(pk *packets.Packet) string {
	for _, b := range [][]byte{pk.Properties.AuthenticationData, pk.Connect.Password, pk.Connect.Username} {
		if len(b) > 0 {
			return string(b)
		}
	}
	return ""
}

// verify returns the claims of raw, or the refusal for the device.
func (c *conn) verify(ctx context.Context, raw string) (bridge.Claims, refusal) {
	if raw == "" {
		return bridge.Claims{}, refusal{codeBadToken, "a token is required, as the password"}
	}
	claims, err := c.b.o.Verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		return claims, refusal{}
	case errors.Is(err, token.ErrUnavailable), errors.Is(err, bridge.ErrUnavailable), ctx.Err() != nil:
		return claims, refusal{codeUnavailable, "the token cannot be checked now"}
	case errors.Is(err, token.ErrExpired):
		return claims, refusal{codeNotAuthorized, token.ErrExpired.Error()}
	case errors.Is(err, token.ErrRevoked):
		return claims, refusal{codeNotAuthorized, token.ErrRevoked.Error()}
	case errors.Is(err, bridge.ErrForbidden):
		return claims, refusal{codeNotAuthorized, "the token may not be used"}
	case errors.Is(err, token.ErrInvalid):
		return claims, refusal{codeBadToken, err.Error()}
	}
	return claims, refusal{codeBadToken, token.ErrInvalid.Error()}
}

// renew handles AUTH 0x19: a new token of the same user, in place (§4.12.1). Where
// it fails the connection ends, as the standard demands.
func (c *conn) renew(pk *packets.Packet) error {
	switch {
	case pk.ReasonCode != codeReauthenticate: // nothing is under way that could continue
		return &fault{codeProtocolError, "AUTH that continues nothing"}
	case pk.Properties.AuthenticationMethod != authMethod: // [MQTT-4.12.1-1]
		return &fault{codeBadAuthMethod, "AUTH with another method"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	claims, r := c.verify(ctx, string(pk.Properties.AuthenticationData))
	switch {
	case r.code == codeUnavailable: // which DISCONNECT does not have
		return &refusal{codeBusy, r.reason}
	case r != (refusal{}):
		return &refusal{codeNotAuthorized, r.reason}
	}
	switch err := c.session.Renew(ctx, claims); {
	case errors.Is(err, bridge.ErrForbidden):
		return &refusal{codeNotAuthorized, "the token is another user's"}
	case err != nil:
		return &refusal{codeBusy, "the token cannot be checked now"}
	}
	return nil
}
