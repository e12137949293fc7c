package bridge

import (
	"context"
	"time"
)

// AuditAction is what was done or attempted.
type AuditAction string

// The actions.
const (
	AuditErase    AuditAction = "user.erase"
	AuditRevoke   AuditAction = "user.revoke"    // all tokens of a user
	AuditToken    AuditAction = "token.revoke"   // one token, by its jti
	AuditEnd      AuditAction = "connection.end" // all connections of a user
	AuditStatus   AuditAction = "report.status"
	AuditWithdraw AuditAction = "notification.withdraw"
	AuditHistory  AuditAction = "history.read" // of another user, one entry per reader, user and minute; no User: of all users
	AuditRefused  AuditAction = "refused"      // a request that was not allowed, with a genuine token
)

// AuditEntry is who did what, to whom.
type AuditEntry struct {
	ID     int64     // set by Audit, ascending
	At     time.Time // set by Audit, by the database's clock
	Sub    UserID    // who: the token's user
	JTI    string    // the token's jti; "": it has none
	Action AuditAction
	User   UserID // to whom; "": no user, or an unknown one
	Remote string // the caller's address
	Detail string // the report, revoked jti, refused request or the like; never content
}

// Audit stores the audit log. Entries are only added, and removed when they are older than
// --audit-retention. Nothing else changes them, not even the erasure of a user. Every call may
// fail with ErrUnavailable.
type Audit interface {
	// Record stores entries, all or none. With [AuditHistory] it stores one entry per Sub,
	// User and minute, and drops further ones.
	Record(ctx context.Context, entries ...AuditEntry) error

	// Entries returns at most limit entries with an ID below before, or with before 0 from the
	// newest on, newest first. more reports that there are older ones.
	Entries(ctx context.Context, before int64, limit int) (page []AuditEntry, more bool, err error)
}
