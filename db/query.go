package db

import (
	"context"
	"database/sql"
	"sync"

	"github.com/uptrace/bun"
)

// rows runs a read written with ? for each argument. On Postgres Bun writes the
// arguments into the text; pgdriver's prepared statements are not used: after a
// timeout they leave the connection out of step in the pool. On SQLite the
// statement is prepared once.
func (d *DB) rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if d.dialect == Postgres {
		return d.read.QueryContext(ctx, query, args...)
	}
	s, err := d.stmts.prepare(ctx, d.read.DB, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// row is rows for one row; its error comes with Scan.
func (d *DB) row(ctx context.Context, query string, args ...any) scanner {
	rows, err := d.rows(ctx, query, args...)
	return &oneRow{rows, err}
}

type scanner interface{ Scan(dest ...any) error }

type oneRow struct {
	rows *sql.Rows
	err  error
}

// Scan reads the first row, or fails with sql.ErrNoRows.
func (r *oneRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer func() { _ = r.rows.Close() }()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close()
}

// inTx runs f in one write transaction. The locks of bridge's order hold:
// reports, then inbox rows, sorted by user.
func (d *DB) inTx(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	return d.write.RunInTx(ctx, nil, f)
}

// statements are prepared once for a pool; database/sql prepares them again on
// each connection that needs them.
type statements struct {
	mu sync.Mutex
	m  map[statementKey]*sql.Stmt
}

type statementKey struct {
	db    *sql.DB
	query string
}

func (s *statements) prepare(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	k := statementKey{db, query}
	s.mu.Lock()
	stmt := s.m[k]
	s.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	made, err := db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.m[k]; stmt != nil {
		_ = made.Close()
		return stmt, nil
	}
	if s.m == nil {
		s.m = make(map[statementKey]*sql.Stmt)
	}
	s.m[k] = made
	return made, nil
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stmt := range s.m {
		_ = stmt.Close()
	}
	s.m = nil
}
