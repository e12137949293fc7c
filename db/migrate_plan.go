package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// countedRows is where counting the rows of a table stops.
const countedRows = 100_000

// Dropped is a table that [DB.Down] would drop.
type Dropped struct {
	Migration string
	Table     string
	Rows      int  // at most 100,000
	More      bool // there are more rows than that
}

func (t Dropped) String() string {
	more := ""
	if t.More {
		more = "over "
	}
	return fmt.Sprintf("%s: %s (rows: %s%d)", t.Migration, t.Table, more, t.Rows)
}

// DownPlan returns the migrations that Down would revert and the tables that it would drop,
// with their sizes, the newest first. It changes nothing.
func (d *DB) DownPlan(ctx context.Context) (names []string, tables []Dropped, err error) {
	all, err := d.migrations(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range slices.Backward(all.LastGroup().Migrations) {
		name := m.String()
		names = append(names, name)
		text, err := migrationFiles.ReadFile("migrations/" + string(d.dialect) + "/" + name + ".tx.down.sql")
		if errors.Is(err, fs.ErrNotExist) { // one that builds indexes
			text, err = migrationFiles.ReadFile("migrations/" + string(d.dialect) + "/" + name + ".down.sql")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the migration: %w", err)
		}
		for _, table := range droppedTables(string(text)) {
			t := Dropped{Migration: name, Table: table}
			err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+table+" LIMIT ?) AS counted", countedRows+1).Scan(&t.Rows)
			if err != nil {
				return nil, nil, d.fail("count the rows of "+table, err)
			}
			if t.More = t.Rows > countedRows; t.More {
				t.Rows = countedRows
			}
			tables = append(tables, t)
		}
	}
	return names, tables, nil
}

var dropTable = regexp.MustCompile(`(?i)\bDROP TABLE\s+(?:IF EXISTS\s+)?([^;]+);`)

// droppedTables returns the tables that the statements of a migration drop.
func droppedTables(statements string) (tables []string) {
	for _, m := range dropTable.FindAllStringSubmatch(statements, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			tables = append(tables, strings.TrimSpace(name))
		}
	}
	return tables
}
