package db

import (
	"slices"
	"strings"
	"testing"
)

// An operator confirms the list of tables before they are dropped, so every table that is
// dropped must have been on it.
func TestDownDropsExactlyTheTablesItListed(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		mustAppend(t, d, one("u", "t"))
		names, plan, err := d.DownPlan(testContext(t))
		must(t, err)
		all := func() (tables []string) {
			query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'falcon%'"
			if d.dialect == Postgres {
				query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'falcon%'"
			}
			rows, err := d.write.QueryContext(testContext(t), query)
			must(t, err)
			defer func() { _ = rows.Close() }()
			for rows.Next() {
				var name string
				must(t, rows.Scan(&name))
				if !strings.HasPrefix(name, migrationTable) {
					tables = append(tables, name)
				}
			}
			return tables
		}
		before := all()
		var listed []string
		for _, p := range plan {
			listed = append(listed, p.Table)
			if want := map[string]int{"falcon_notifications": 1, "falcon_reports": 0}; p.Rows != want[p.Table] && slices.Contains([]string{"falcon_notifications", "falcon_reports"}, p.Table) {
				t.Errorf("%v, want %d rows", p, want[p.Table])
			}
		}
		reverted, err := d.Down(testContext(t))
		must(t, err)
		if !slices.Equal(reverted, names) {
			t.Errorf("reverted %v, listed %v", reverted, names)
		}
		slices.Sort(before)
		slices.Sort(listed)
		if after := all(); len(after) > 0 || !slices.Equal(before, listed) {
			t.Errorf("before %v, listed %v, after %v", before, listed, after)
		}
	})
}
