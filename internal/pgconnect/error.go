package pgconnect

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

// SQLSTATEs (Postgres, appendix A): a connection over the server's, the
// database's or the role's limit, and a wrong password.
const (
	tooMany       = "53300"
	wrongPassword = "28P01"
)

// Error is why no connection could be made. Its text names neither user nor
// password.
type Error struct {
	State string // SQLSTATE, "" where the server did not answer with one
	Said  string // what the server said, which may name the user
	err   error
}

// Error gives the state, or what failed at each host.
func (e *Error) Error() string {
	if e.State != "" {
		return "connect: SQLSTATE " + e.State
	}
	var lines []string
	for line := range strings.SplitSeq(e.err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" && (len(lines) == 0 || line != lines[len(lines)-1]) {
			lines = append(lines, line)
		}
	}
	return "connect: " + strings.Join(lines, "; ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

func connectError(err error) error {
	if of, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = of.Unwrap() // its own text names the user
	}
	e := &Error{err: err}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		e.State, e.Said = pg.Code, pg.Message
	}
	return e
}

// Untrusted reports whether err says that the host and this program cannot agree
// on TLS or on how to log in, which does not change by waiting.
func (e *Error) Untrusted() bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.err); ok {
		return true
	}
	text := e.err.Error()
	for _, s := range []string{"server refused TLS connection", "x509: ", "remote error: tls: ", "tls: no supported versions", "channel binding", "require_auth",
		"sslcertmode", "GSSAPI"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// State is the SQLSTATE in err, "" for none.
func State(err error) string {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		return e.Field('C')
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.State
	}
	return ""
}
