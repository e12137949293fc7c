// Package db stores everything that has to survive a restart, in Postgres or in
// SQLite: notifications, reports, settings, sessions, and what nodes know of each
// other. [DB] implements the storage interfaces of package bridge. Both databases
// behave alike, and the same test suite runs against both.
//
// Queries are built with Bun from the models in models.go. Each noun of the domain
// (report, session, settings …) has one file with its queries. SQL is written by hand
// where a single set-based statement is essential or where Bun cannot express it.
// plan_test.go, late_plan_test.go, state_plan_test.go and explain_test.go check which
// indexes the statements use.
//
// Appending is a group commit (committer.go). On Postgres one call of the function
// falcon_append is one round trip and one transaction for all queued commands, see
// docs/decisions/0001-one-function-appends.md. Every other call is a single statement
// or a short transaction.
//
// Each statement or transaction takes at most [CallLimit], and fails with
// bridge.ErrUnavailable while the database is unavailable. Most calls are one statement
// or transaction. These take longer:
//
//   - Erase, ReadUpTo, DeleteRead and ChangeSettings work in steps until everything is
//     done or their context ends (task.go).
//   - Calls that consist of several transactions, such as ImportReports and LateStats,
//     take at most CallLimit for each.
//   - Up, Down, Backup and Restore have no limit.
package db
