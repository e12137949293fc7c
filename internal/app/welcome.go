package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// developmentTTL is how long the printed tokens hold. A restart prints new ones.
const developmentTTL = 24 * time.Hour

// welcome prints what a newcomer needs: a page that opens a working inbox, a
// token that may do everything, and a line that makes a notification arrive. It
// is for development mode only. The token stands in the fragment of the address,
// which no browser sends to a server.
func (a *App) welcome(context.Context) error {
	if !a.c.Keys.Development {
		return nil
	}
	signer, err := a.c.Keys.Signer(a.c.DataDir, a.c.Topics, io.Discard) // the verifier made the key
	if err != nil {
		return err
	}
	until := time.Now().Add(developmentTTL)
	user, err := signer.Sign(bridge.Claims{User: "1", ExpiresAt: until})
	if err != nil {
		return err
	}
	admin, err := signer.Sign(bridge.Claims{User: "admin", Scope: bridge.ScopeAdmin, ExpiresAt: until})
	if err != nil {
		return err
	}
	scheme, insecure := "http", ""
	if a.cert != nil {
		scheme, insecure = "https", "-k "
	}
	base := scheme + "://" + a.addrs["http-addr"].String()
	_, err = fmt.Fprintf(a.out, `
falconbridge runs in development mode, for this machine only.

Open the inbox of user 1:
  %s/#token=%s

Make a notification arrive there:
  curl %s-X POST %s/notifications -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{"title":"Hola","message":"Funciona.","created_by":1}'

Admin token, for everything else:
  %s

`, base, user, insecure, base, admin, admin)
	return err
}
