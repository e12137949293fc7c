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

// fail returns err of op as an error of package bridge, wrapped with op. The text of the
// database's own message is left out, since it may repeat values of the caller.
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
		return fmt.Errorf("%s: %w: %w", op, bridge.ErrUnavailable, explained{cause(err), err})
	}
	return fmt.Errorf("%s: %w: %w", op, bridge.ErrUnavailable, err)
}

// explained is a database's error, shown as its cause alone.
type explained struct {
	cause string
	err   error
}

func (e explained) Error() string { return e.cause }
func (e explained) Unwrap() error { return e.err }

// fail is the same for one of d's connections, and logs the cause where the database
// is what failed, see [outages]. Where the connection broke, its idle companions most
// likely did too: they are closed at once instead of failing a call each.
func (d *DB) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	c := classify(err)
	d.counters.errors[c].Add(1)
	if c == away || c == fault {
		d.outages.report(op, err)
	}
	if d.dialect == Postgres && broken(err) {
		d.purge()
	}
	return fail(op, err)
}

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
	d.epoch.look()
}

// class is the kind of an error.
type class int

const (
	away     class = iota // the connection, the deadline or the pool: unknown whether it happened
	known                 // already one of package bridge
	missing               // no row
	conflict              // a unique value is taken
	refused               // a value the database does not take
	fault                 // the server answered: full, read-only, overloaded, locked … Nothing was changed
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
	return away
}

func isBridge(err error) bool {
	for _, e := range []error{bridge.ErrNotFound, bridge.ErrConflict, bridge.ErrKeyReused, bridge.ErrKeyInFlight,
		bridge.ErrUnavailable, bridge.ErrForbidden, bridge.ErrTooMany} {
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

// broken reports whether err means that the server is gone, or that the other connections
// are probably lost, too. A call that ran out of time is no sign of that,
// whether it waited for a connection, a lock or a slow statement: only its own
// connection is closed, by the driver. Were the idle ones closed, too, a moment of
// high load would be followed by one in which every call connects.
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
	// ETIMEDOUT is none of these: the kernel gave the connection up.
	for _, over := range []error{context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded} {
		if errors.Is(err, over) {
			return false
		}
	}
	if e, ok := errors.AsType[*pgconnect.Error](err); ok {
		return !strings.HasPrefix(e.State, "53") // too many connections say nothing of the others
	}
	_, op := errors.AsType[*net.OpError](err)
	return op || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// retryable reports whether the whole batch surely left nothing behind, and one
// command alone may fare better: a deadlock, a value refused, too many locks.
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
