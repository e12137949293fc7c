package db

import (
	"encoding/json"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// notification is a row of falcon_notifications. Times are Unix milliseconds, 0
// none. (Postgres has one column more, xid, which only the feed reads.)
type notification struct {
	bun.BaseModel `bun:"table:falcon_notifications,alias:n"`

	ID        int64 `bun:",pk,autoincrement"`
	UserID    bridge.UserID
	Seq       bridge.Seq
	Kind      bridge.Kind
	Title     string
	Message   string
	CreatedAt int64
	ReadAt    int64
	ReportID  int64
	StatusID  bridge.Status
	Data      string
	Muted     bool
}

// notificationColumns is what scanNotification reads, in its order.
const notificationColumns = "n.id, n.user_id, n.seq, n.kind, n.title, n.message, n.created_at, n.read_at, n.report_id, n.status_id, n.data, n.muted"

func (n *notification) dest() []any {
	return []any{&n.ID, &n.UserID, &n.Seq, &n.Kind, &n.Title, &n.Message, &n.CreatedAt, &n.ReadAt,
		&n.ReportID, &n.StatusID, &n.Data, &n.Muted}
}

// domain is n as package bridge knows it.
func (n *notification) domain() bridge.Notification {
	d := bridge.Notification{ID: n.ID, Seq: n.Seq, User: n.UserID, Kind: n.Kind, Title: n.Title, Message: n.Message,
		CreatedAt: moment(n.CreatedAt), ReadAt: moment(n.ReadAt), ReportID: n.ReportID, StatusID: n.StatusID, Muted: n.Muted}
	if n.Data != "" {
		d.Data = json.RawMessage(n.Data)
	}
	return d
}

// scanNotification reads notificationColumns, and then extra, from one row.
func scanNotification(s scanner, extra ...any) (bridge.Notification, error) {
	var n notification
	if err := s.Scan(append(n.dest(), extra...)...); err != nil {
		return bridge.Notification{}, err
	}
	return n.domain(), nil
}

// inbox is a row of falcon_inboxes: the one row whose lock serializes a user.
type inbox struct {
	bun.BaseModel `bun:"table:falcon_inboxes,alias:i"`

	UserID        bridge.UserID `bun:",pk"`
	LastSeq       bridge.Seq
	Total         int64
	Unread        int64
	ReviewEnabled bool
}

// report is a row of falcon_reports.
type report struct {
	bun.BaseModel `bun:"table:falcon_reports,alias:r"`

	ID        int64 `bun:",pk,autoincrement"`
	UserID    bridge.UserID
	Title     string
	StatusID  bridge.Status
	CreatedAt int64
	UpdatedAt int64
}

// domain is r as package bridge knows it.
func (r *report) domain() bridge.Report {
	return bridge.Report{ID: r.ID, Title: r.Title, User: r.UserID, Status: r.StatusID,
		CreatedAt: moment(r.CreatedAt), UpdatedAt: moment(r.UpdatedAt)}
}

// key is a row of falcon_keys: what an idempotency key was used for.
type key struct {
	bun.BaseModel `bun:"table:falcon_keys,alias:k"`

	Caller    bridge.UserID `bun:",pk"`
	Key       string        `bun:",pk"`
	Body      string        // SHA-256 of the body, hex
	Answer    string        // see encodeAnswer
	CreatedAt int64
}

func keyOf(k *bridge.IdempotencyKey) key { return key{Caller: k.Caller, Key: k.Key} }

// session is a row of falcon_sessions.
type session struct {
	bun.BaseModel `bun:"table:falcon_sessions,alias:s"`

	UserID     bridge.UserID `bun:",pk"`
	ClientID   string        `bun:",pk"`
	Generation int64
	Node       string // whose connection is open; "": none
	ExpiryMs   int64
	ExpiresAt  int64 // 0: while open
	UsedAt     int64
	Subscribed bool
	Qos        byte
	Rap        bool // Retain As Published
	SubID      int  // subscription identifier
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	SentSeq    bridge.Seq // -1: unknown, the connection is open or its node died
}

// node is a row of falcon_nodes.
type node struct {
	bun.BaseModel `bun:"table:falcon_nodes,alias:o"`

	ID        string `bun:",pk"`
	StartedAt int64
	BeatAt    int64
	Figures   string // JSON
}
