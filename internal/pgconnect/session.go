package pgconnect

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// defaults are settings that override those of the role or the database. The connection string
// may override them, because they only affect speed and durability, and not the meaning of
// statements.
var defaults = []Setting{
	// The response 201 promises that a notification is on disk. With synchronous_commit off
	// for the role, the last commits would be lost in a crash.
	{"synchronous_commit", "on"},
	{"jit", "off"},
	// Queries read ranges of an index in its order, with a LIMIT. The rows of a bitmap scan
	// would have to be sorted again.
	{"enable_bitmapscan", "off"},
}

// fixed are settings on which this program's SQL, the driver or a documented guarantee depends.
// A different value, set for the role or the database (ALTER ROLE … SET), would change what a
// statement means, how long it may take, or how it is planned.
var fixed = []Setting{
	// How values are written and read.
	{"client_encoding", "UTF8"},
	{"standard_conforming_strings", "on"},
	{"escape_string_warning", "off"},
	{"datestyle", "ISO, MDY"},
	{"intervalstyle", "postgres"},
	{"timezone", "UTC"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"xmloption", "content"},
	{"array_nulls", "on"},
	{"transform_null_equals", "off"},
	{"plpgsql.extra_errors", "none"},
	// What a transaction sees and what it may do.
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"row_security", "on"},
	// How long it may take. Pools set limits of their own, and migrations and LISTEN have none.
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	// Which plans the planner may choose.
	{"enable_hashagg", "on"},
	{"enable_hashjoin", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_indexscan", "on"},
	{"enable_material", "on"},
	{"enable_mergejoin", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "on"},
	{"enable_sort", "on"},
	{"enable_incremental_sort", "on"},
	{"geqo_threshold", "12"},
	{"from_collapse_limit", "8"},
	{"join_collapse_limit", "8"},
	{"plan_cache_mode", "auto"},
}

// newer are fixed settings that not every supported server has, by the first version that has
// them.
var newer = map[int][]Setting{
	14: {{"idle_session_timeout", "0"}, {"enable_memoize", "on"}},
	17: {{"transaction_timeout", "0"}},
}

// set applies all settings in one round trip. They are the defaults, those of the connection
// string, the fixed ones and own. In this order, later ones override earlier ones.
//
// They are not sent in the startup message, because a pooler would refuse them there.
// PgBouncer in session mode resets them when the client disconnects.
func (c *Config) set(ctx context.Context, pg *pgconn.PgConn, own []Setting) error {
	version := major(pg)
	all := slices.Concat(defaults, c.settings, fixed)
	for since, more := range newer {
		if version >= since {
			all = append(all, more...)
		}
	}
	var calls []string
	for _, s := range append(all, own...) {
		calls = append(calls, "set_config("+literal(s.Name)+", "+literal(s.Value)+", false)")
	}
	_, err := pg.Exec(ctx, "SELECT "+strings.Join(calls, ", ")).ReadAll()
	return err
}

// literal quotes s as a SQL literal that is valid whatever standard_conforming_strings is.
func literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return " E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}

// major returns the server's major version, such as 17, or 0 if it does not send one.
func major(pg *pgconn.PgConn) int {
	v := pg.ParameterStatus("server_version")
	end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(v)
	}
	n, _ := strconv.Atoi(v[:end])
	return n
}
