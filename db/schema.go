package db

import (
	"context"
	"fmt"
	"strings"
)

// tables are the tables that the migrations create, without the two in which Bun records
// the migrations themselves.
var tables = []string{
	"falcon_acks",
	"falcon_audit",
	"falcon_changes",
	"falcon_connections",
	"falcon_epochs",
	"falcon_histories",
	"falcon_imports",
	"falcon_inboxes",
	"falcon_keys",
	"falcon_late",
	"falcon_leases",
	"falcon_meta",
	"falcon_nodes",
	"falcon_notifications",
	"falcon_orders",
	"falcon_past_sessions",
	"falcon_registrations",
	"falcon_relay",
	"falcon_reports",
	"falcon_revocations",
	"falcon_sessions",
	"falcon_steps",
	"falcon_tasks",
	"falcon_tombstones",
	"falcon_touched",
}

// CheckTables fails if a table is missing although all migrations were applied, as happens when
// only a part of a database is restored.
func (d *DB) CheckTables(ctx context.Context) error {
	names := "'" + strings.Join(tables, "', '") + "'"
	query := "SELECT count(*), coalesce(group_concat(name), '') FROM sqlite_master WHERE type = 'table' AND name IN (" + names + ")"
	if d.dialect == Postgres {
		query = "SELECT count(*), coalesce(string_agg(relname, ','), '') FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) " +
			"AND relkind IN ('r', 'p') AND relname IN (" + names + ")"
	}
	var n int
	var found string
	if err := d.read.QueryRowContext(ctx, query).Scan(&n, &found); err != nil {
		return d.openError("look for the tables", err)
	}
	if n == len(tables) {
		return nil
	}
	var missing []string
	for _, name := range tables {
		if !strings.Contains(","+found+",", ","+name+",") {
			missing = append(missing, name)
		}
	}
	return fmt.Errorf("the %s database lacks %s, although all migrations were applied; restore a backup", d.dialect, strings.Join(missing, ", "))
}
