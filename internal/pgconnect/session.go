package pgconnect

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// defaults are settings that a role or a database may have otherwise and that
// the connection string may change: a matter of speed or of the operator's.
var defaults = []Setting{
	// 201 means on disk: a role with synchronous_commit off loses commits in a crash.
	{"synchronous_commit", "on"},
	{"jit", "off"},
	// Ranges of an index are read in its order here, with a LIMIT; a bitmap would
	// only be sorted again.
	{"enable_bitmapscan", "off"},
}

// fixed are the settings that this program's SQL, the driver or a promise
// depends on. A role's or database's own (ALTER ROLE … SET) would change what
// the same statement means, how long it may take, or its plan.
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
	// What a transaction sees and may do.
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"row_security", "on"},
	// How long it may take: pools set their own, a migration or LISTEN has none.
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	// Which plans there are.
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

// younger are fixed settings that not every supported server knows, by the
// first version that does.
var younger = map[int][]Setting{
	14: {{"idle_session_timeout", "0"}, {"enable_memoize", "on"}},
	17: {{"transaction_timeout", "0"}},
}

// set makes the session what the program's SQL expects, in one round trip. Later
// settings win: the defaults, the connection string's, the fixed ones, own.
//
// They are not sent in the startup message, which a pooler refuses. PgBouncer in
// session mode resets them when the connection ends.
func (c *Config) set(ctx context.Context, pg *pgconn.PgConn, own []Setting) error {
	version := major(pg)
	all := slices.Concat(defaults, c.settings, fixed)
	for since, more := range younger {
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

// literal is s as SQL, whatever standard_conforming_strings is.
func literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return " E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}

// major is the server's version, e.g. 17; 0 where it does not say.
func major(pg *pgconn.PgConn) int {
	v := pg.ParameterStatus("server_version")
	end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(v)
	}
	n, _ := strconv.Atoi(v[:end])
	return n
}
