// Package db keeps the log in Postgres or SQLite: notifications, reports,
// settings, sessions and what nodes know of each other. [DB] implements the
// interfaces of package bridge; both databases behave alike, which one suite of
// tests checks.
//
// Bun's models (models.go) drive the queries, one file a noun. SQL is written out
// where one set-based statement is the point, and where Bun has no words for it;
// plan_test.go and explain_test.go check which indexes the statements read.
//
// The append side is a group commit (committer.go): on Postgres one call of the
// function falcon_append is one round trip and one transaction for all commands
// that waited, see docs/decisions/0001-one-function-appends.md. Everything else
// is a statement or a short transaction of its own.
//
// Every call is bounded by [CallLimit], and fails with bridge.ErrUnavailable
// when the database is unavailable.
package db
