package db

import (
	"slices"
	"strings"
	"testing"
)

func TestAMissingTableIsNamedAtTheStart(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		must(t, d.CheckTables(testContext(t)))
		exec(t, d, "DROP TABLE falcon_keys")
		_, err := d.Up(testContext(t))
		if err == nil || !strings.Contains(err.Error(), "lacks falcon_keys") || !strings.Contains(err.Error(), "restore") {
			t.Errorf("without a table: %v", err)
		}
	})
}

func TestTheListOfTablesIsWhatTheMigrationsCreate(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'falcon%' AND name NOT LIKE 'falcon_migrations%' ORDER BY 1"
		if d.dialect == Postgres {
			query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND starts_with(relname, 'falcon') AND NOT starts_with(relname, 'falcon_migrations') ORDER BY 1"
		}
		rows, err := d.read.QueryContext(testContext(t), query)
		must(t, err)
		defer func() { _ = rows.Close() }()
		var got []string
		for rows.Next() {
			var name string
			must(t, rows.Scan(&name))
			got = append(got, name)
		}
		must(t, rows.Err())
		if !slices.Equal(got, tables) {
			t.Errorf("the migrations create %v, the list has %v", got, tables)
		}
	})
}
