package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/uptrace/bun/driver/pgdriver"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// fail converts the error of an operation to one of package bridge, wrapped with op. The
// database's own message is left out, since it may repeat values that the caller sent.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	switch classify(err) {
	case known:
		return fmt.Errorf("%s: %w", op, err)
	case missing:
		return fmt.Errorf("%s: %w", op, bridge.ErrNotFound)
	case conflict:
		return fmt.Errorf("%s: %w", op, bridge.ErrConflict)
	case refused:
		var bad bridge.InvalidError
		bad.Add("body", "contains a value that the database does not accept")
		return fmt.Errorf("%s: %w", op, bad.Err())
	case fault:
		return fmt.Errorf("%s: %w: %w", op, bridge.ErrUnavailable, causedError{cause(err), err})
	}
	return fmt.Errorf("%s: %w: %w", op, bridge.ErrUnavailable, err)
}

// causedError wraps a database's error and prints only its cause.
type causedError struct {
	cause string
	err   error
}

func (e causedError) Error() string { return e.cause }
func (e causedError) Unwrap() error { return e.err }

// fail does what the function fail does. It also counts the error and, if it was the
// database that failed, logs the cause, see [outages]. If a connection broke, the idle
// connections in the pool are most likely broken as well. They are closed at once, because
// each of them would otherwise fail one more call.
func (d *DB) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := classify(err)
	if kind == unavailable || kind == fault {
		// Callers need to know what the call may have changed, operators whether waiting helps.
		kind = unavailable
		if lasting(err) {
			kind = fault
		}
		d.outages.report(op, err)
	}
	d.counters.errors[kind].Add(1)
	if d.dialect == Postgres && broken(err) {
		d.purge()
	}
	return fail(op, err)
}

// purge closes all idle connections, at most every 250 ms, and checks the epoch soon:
// the next connection may reach another server.
func (d *DB) purge() {
	now, last := nowMillis(), d.purged.Load()
	if now-last < 250 && now >= last || !d.purged.CompareAndSwap(last, now) {
		return
	}
	for _, p := range []struct {
		db *sql.DB
		n  int
	}{{d.read.DB, d.reads}, {d.log.DB, d.appends}} {
		p.db.SetMaxIdleConns(-1)
		p.db.SetMaxIdleConns(p.n)
	}
	d.epoch.checkSoon()
}

// class is a class of errors that calls handle alike.
type class int

const (
	unavailable class = iota // the connection broke, or time ran out: the call may or may not have taken effect
	known                    // already an error of package bridge
	missing                  // no row
	conflict                 // a unique value is in use
	refused                  // a value that the database does not accept
	fault                    // the server refused: full, read-only, overloaded, locked … Nothing was changed
)

func classify(err error) class {
	var invalid *bridge.InvalidError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return missing
	case errors.As(err, &invalid), isBridge(err):
		return known
	}
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		return classifyState(e)
	}
	if e, ok := errors.AsType[*pgconnect.Error](err); ok && e.State != "" {
		return fault
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return classifySQLite(e.Code())
	}
	return unavailable
}

func isBridge(err error) bool {
	for _, e := range []error{bridge.ErrNotFound, bridge.ErrConflict, bridge.ErrKeyReused, bridge.ErrKeyInFlight,
		bridge.ErrUnavailable, bridge.ErrForbidden, bridge.ErrTooManySubscriptions} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// classifyState reads a SQLSTATE (Postgres, appendix A).
func classifyState(e pgdriver.Error) class {
	state := e.Field('C')
	switch {
	case state == "23505":
		return conflict
	case strings.HasPrefix(state, "22"), strings.HasPrefix(state, "23"), state == "08P01", state == "54000":
		return refused // data, constraint, a message the server cannot read (a NUL), too large a value
	}
	return fault
}

// classifySQLite reads a result code; the low byte is the primary one.
func classifySQLite(c int) class {
	switch c & 0xff {
	case lib.SQLITE_CONSTRAINT:
		if c == lib.SQLITE_CONSTRAINT_UNIQUE || c == lib.SQLITE_CONSTRAINT_PRIMARYKEY {
			return conflict
		}
		return refused
	case lib.SQLITE_TOOBIG, lib.SQLITE_MISMATCH:
		return refused
	}
	return fault
}

// broken reports whether err means that the server is gone or that the other connections
// are probably lost as well. A call that ran out of time is no sign of that, whether it
// waited for a connection, a lock or a slow statement. In that case the driver closes this
// one connection. If the idle connections were closed, too, every call would have to
// connect after each moment of high load.
func broken(err error) bool {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		switch e.Field('C') {
		case "25006": // read-only: a demoted primary
			return true
		case "25P03", "57P05": // this connection was idle for too long
			return false
		}
		return e.Field('V') == "FATAL" || e.Field('V') == "PANIC"
	}
	// ETIMEDOUT is not in this list, because it means that the kernel gave up the connection.
	for _, timeout := range []error{context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded} {
		if errors.Is(err, timeout) {
			return false
		}
	}
	if e, ok := errors.AsType[*pgconnect.Error](err); ok {
		return !strings.HasPrefix(e.State, "53") // "too many connections" says nothing about the open ones
	}
	_, op := errors.AsType[*net.OpError](err)
	return op || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// retryable reports whether a batch that failed with err certainly left nothing behind,
// and its commands may succeed one at a time. Examples are a deadlock, a refused value and
// too many locks.
func retryable(err error) bool {
	if e, ok := errors.AsType[pgdriver.Error](err); ok {
		switch c := e.Field('C'); {
		case c == "40001", c == "40P01", c == "53200", c == "55P03", c == "57014":
			return true
		}
	}
	c := classify(err)
	return c == refused || c == conflict
}

// locked reports whether err is a lock timeout.
func locked(err error) bool {
	e, ok := errors.AsType[pgdriver.Error](err)
	return ok && e.Field('C') == "55P03"
}
