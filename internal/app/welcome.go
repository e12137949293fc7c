package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// developmentHeader is the name of the file in the data directory with the header that the
// printed curl command sends.
const developmentHeader = "development.header"

// developmentTTL is how long the printed tokens are valid. Each start prints new ones.
const developmentTTL = 24 * time.Hour

// welcome prints, in development mode only, what somebody who tries the program needs: the
// address of a working inbox page, a command that sends a notification there, and a token
// with all rights. The token of the page is in the fragment of its address, which browsers do
// not send to servers.
func (a *App) welcome(context.Context) error {
	if !a.c.Keys.Development {
		return nil
	}
	signer, err := a.c.Keys.Signer(a.c.DataDir, a.c.Topics, io.Discard) // startVerifier has made the key
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
	// curl reads the token from a file, which keeps it out of the command and of the list of
	// processes. Like the development key next to it, only this user can read the file.
	header, err := filepath.Abs(filepath.Join(a.c.DataDir, developmentHeader))
	if err != nil {
		return fmt.Errorf("%s: %w", a.c.Name("data-dir"), err)
	}
	_ = os.Remove(header) // WriteFile would keep the mode of an existing file
	if err := os.WriteFile(header, []byte("Authorization: Bearer "+admin+"\n"), 0o600); err != nil {
		return fmt.Errorf("%s: write the token for curl: %w", a.c.Name("data-dir"), err)
	}
	title, message := a.c.Locale.Sample()
	_, err = fmt.Fprintf(a.out, `
falconbridge runs in development mode, for this machine only.

Inbox of user 1:
  %s/#token=%s

Send it a notification:
  curl %s-X POST %s/notifications -H @'%s' -H 'Content-Type: application/json' -d '{"title":"%s","message":"%s","created_by":1}'

Console:  %s/console
API:      %s/docs
Admin token, for both (a new one: falconbridge token --user admin --scope admin):
  %s

`, base, user, insecure, base, header, title, message, base, base, admin)
	return err
}
