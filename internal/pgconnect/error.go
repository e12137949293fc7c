package pgconnect

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

// SQLSTATEs (Postgres, appendix A). tooMany is a connection past the limit of the server, the
// database or the role.
const (
	tooMany       = "53300"
	wrongPassword = "28P01"
)

// Error is why no connection could be made. Its text contains neither the user nor the
// password.
type Error struct {
	State string // SQLSTATE; "" if the server sent none
	Said  string // the server's message, which may name the user
	err   error
}

// Error returns the SQLSTATE, or else what failed at each host.
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

// connectError wraps an error of pgconn.
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

// Untrusted reports whether the server and this program cannot agree on TLS or on how to log
// in. Waiting does not change that.
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

// State returns the SQLSTATE in err, or "" if it has none.
func State(err error) string {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		return e.Field('C')
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.State
	}
	return ""
}
