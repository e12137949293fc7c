package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/uptrace/bun/driver/pgdriver"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// cause describes why the database failed a call. Outages are counted by this text, so the
// number of different texts is bounded. The database's own message may repeat what the
// caller sent, so only its code, and the name of a falcon_ table or function in it, are
// used.
func cause(err error) string {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		return causeOfState(e.Field('C'), objectName.FindString(e.Field('M')))
	}
	connect, connecting := errors.AsType[*pgconnect.Error](err)
	if connecting && connect.State != "" {
		return causeOfState(connect.State, "")
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return causeOfSQLite(e.Code(), e.Error())
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		address := ""
		if e.Op == "dial" && e.Addr != nil { // of other operations, the local port would make each cause unique
			address = " " + e.Addr.String()
		}
		if e.Timeout() {
			return e.Op + address + ": no response in time"
		}
		return e.Op + address + ": " + e.Err.Error()
	}
	flaw, isFlaw := errors.AsType[flaw](err)
	switch {
	case isFlaw:
		return string(flaw)
	case connecting && connect.Untrusted():
		return connect.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no response within the call's deadline"
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke"
	}
	return fmt.Sprintf("an error of type %T", err)
}

// flaw is a fault of the database that this package detects itself.
type flaw string

func (f flaw) Error() string { return string(f) }

// objectName matches the name of a table or function of this program in a message of the
// database.
var objectName = regexp.MustCompile(`\bfalcon_[a-z_]+`)

// causeOfState describes a SQLSTATE (Postgres, appendix A). name is the table or
// function of this program that the message names, or "".
func causeOfState(state, name string) string {
	what := map[string]string{
		"25006": "the server accepts no writes: most likely it is a standby",
		"42501": "the role lacks a privilege for this",
		"42703": "a column is missing; migrate the schema",
		"42883": "a function is missing; migrate the schema",
		"42P01": "a table is missing; migrate the schema",
		"53100": "the disk is full",
		"53200": "the server is out of memory",
		"53300": "the server has no connections left",
		"57014": "the statement took too long",
		"57P01": "the server is shutting down",
		"57P03": "the server is starting up or shutting down",
		"58030": "the server could not read or write a file",
		"XX001": "a table is corrupt",
		"XX002": "an index is corrupt",
	}[state]
	switch {
	case what == "":
		return "SQLSTATE " + state
	case name != "" && (state == "42P01" || state == "42883"):
		what = name + " is missing; migrate the schema"
	case name != "" && state == "42501":
		what += ": " + name
	}
	return what + " (SQLSTATE " + state + ")"
}

// causeOfSQLite describes a result code of SQLite; text is the message that came with it.
func causeOfSQLite(code int, text string) string {
	what := sqlite.ErrorCodeString[code&0xff]
	if what, _, _ = strings.Cut(what, " (SQLITE_"); what == "" {
		return fmt.Sprintf("SQLite code %d", code)
	}
	switch {
	case code == lib.SQLITE_ERROR && strings.Contains(text, "no such table"):
		what = "a table is missing"
		if name := objectName.FindString(text); name != "" {
			what = "the table " + name + " is missing"
		}
		what += "; migrate the schema"
	case code&0xff == lib.SQLITE_CORRUPT, code&0xff == lib.SQLITE_NOTADB:
		what += "; restore a backup"
	}
	return fmt.Sprintf("%s (SQLite code %d)", strings.ToLower(what[:1])+what[1:], code)
}

// lasting reports whether err will not go away by itself, because something is wrong
// with the schema, the privileges, the disk or the file.
func lasting(err error) bool {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		switch state := e.Field('C'); state[:min(2, len(state))] {
		case "42", "58", "XX":
			return true
		default:
			return state == "53100"
		}
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_INTERRUPT, lib.SQLITE_NOMEM:
			return false
		}
		return true
	}
	if e, ok := errors.AsType[*pgconnect.Error](err); ok {
		return strings.HasPrefix(e.State, "28") || strings.HasPrefix(e.State, "3D") // the password, the database's name
	}
	_, isFlaw := errors.AsType[flaw](err)
	return isFlaw
}
