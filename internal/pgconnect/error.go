package pgconnect

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

// SQLSTATEs (PostgreSQL manual, appendix A).
const (
	tooMany       = "53300" // a connection past the limit of the server, the database or the role
	wrongPassword = "28P01"
)

// Error describes why no connection could be made. Its text contains neither the user nor the
// password.
type Error struct {
	State   string // SQLSTATE; "" if the server sent none
	Message string // the server's message, which may name the user
	err     error
}

// Error returns a text with the SQLSTATE, or without one with what failed at each host.
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
	if withUser, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = withUser.Unwrap() // leave out the user
	}
	e := &Error{err: err}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		e.State, e.Message = pg.Code, pg.Message
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
