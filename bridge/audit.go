package bridge

import (
	"context"
	"time"
)

// AuditAction names what was done, or tried.
type AuditAction string

// The actions.
const (
	AuditErase    AuditAction = "user.erase"
	AuditRevoke   AuditAction = "user.revoke"    // all tokens of a user
	AuditToken    AuditAction = "token.revoke"   // one token, by its jti
	AuditEnd      AuditAction = "connection.end" // all connections of a user
	AuditStatus   AuditAction = "report.status"
	AuditWithdraw AuditAction = "notification.withdraw"
	AuditHistory  AuditAction = "history.read" // another user's, one entry per reader, user and minute
	AuditRefused  AuditAction = "refused"      // a call of a token whose signature verified
)

// AuditEntry says who did what to whom.
type AuditEntry struct {
	ID     int64     // set by Audit, ascending
	At     time.Time // set by Audit, by the database's clock
	Sub    UserID    // who: the token's user
	JTI    string    // the token's jti; "" where it has none
	Action AuditAction
	User   UserID // to whom; "" where it concerns no user, or none that is known
	Remote string // the caller's address
	Detail string // what else names the object: a report, a revoked jti, a refused call; never content
}

// Audit stores who did what. Entries are only ever added, and removed once they are
// older than --audit-retention: neither an erasure nor anything else changes them.
type Audit interface {
	// Record stores e. Of [AuditHistory] it stores one entry per Sub, User and
	// minute, and drops the others. It fails only when the database does.
	Record(ctx context.Context, e AuditEntry) error

	// Entries returns at most limit entries with an ID below before, newest first;
	// before 0: from the newest.
	Entries(ctx context.Context, before int64, limit int) (page []AuditEntry, more bool, err error)
}
