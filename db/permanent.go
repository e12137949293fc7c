package db

import (
	"errors"
	"fmt"
	"strings"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// permanent returns advice for an error that does not go away by itself: the server is
// unsuitable, refuses this user, or the user lacks privileges or tables. It returns nil for
// every other error.
func permanent(err error) error {
	if errors.Is(err, pgconnect.ErrUnfit) {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return permanentSQLite(e)
	}
	connect, connecting := errors.AsType[*pgconnect.Error](err)
	if connecting && connect.State == "" && connect.Untrusted() {
		return fmt.Errorf("%w; check the server's TLS, and sslmode, sslrootcert and channel_binding in the URL", connect)
	}
	state := pgconnect.State(err)
	advice := advices[state]
	if advice == "" && strings.HasPrefix(state, "28") {
		advice = "the server does not let this user in; check the user, pg_hba.conf and sslmode"
	}
	switch {
	case advice == "":
		return nil
	case connecting && (state == "42704" || state == "22023"):
		return fmt.Errorf("%s: %s (SQLSTATE %s)", advice, connect.Message, state)
	}
	return fmt.Errorf("%s (SQLSTATE %s)", advice, state)
}

// permanentSQLite is permanent for an error of SQLite.
func permanentSQLite(e *sqlite.Error) error {
	switch e.Code() & 0xff {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return errors.New(causeOfSQLite(e.Code(), e.Error()))
	case lib.SQLITE_PERM, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN:
		return fmt.Errorf("%s; this user must be able to write the file and its directory", causeOfSQLite(e.Code(), e.Error()))
	}
	return nil
}

// advices maps a SQLSTATE (Postgres, appendix A) to what the operator can do about it.
var advices = map[string]string{
	"28P01": "the user or the password is wrong",
	"3D000": "there is no database of that name; create it, or correct the name",
	"3F000": "there is no schema to create the tables in; create it, or correct search_path",
	"42501": "the user lacks a privilege: it needs those listed in docs/operations.md on the falcon_ tables, sequences and functions, or CREATE on the schema to create them",
	"42704": "the URL or the role sets a parameter that this server does not know",
	"22023": "the URL or the role sets a parameter to a value that this server refuses",
	"42P01": "a table is missing although its migration was applied; restore the database, or check search_path",
	"42703": "a column is missing; the schema is of another version of falconbridge",
	"42883": "a function is missing; the schema is of another version of falconbridge",
}
