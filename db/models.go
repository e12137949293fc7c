package db

import (
	"encoding/json"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// The tables as Bun models. Their fields are the columns, so queries need not list them;
// columns that the database fills in by itself have no field. Times are Unix milliseconds,
// and 0 means none.

// notification is a row of falcon_notifications. On Postgres the table has one more column,
// see fedNotification.
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
	ExpiresAt int64
	URL       string
	Replaces  string
	By        string
	Hidden    bool // the user muted its kind, see state.go
}

// domain converts n to the type of package bridge.
func (n *notification) domain() bridge.Notification {
	d := bridge.Notification{ID: n.ID, Seq: n.Seq, User: n.UserID, Kind: n.Kind, Title: n.Title, Message: n.Message,
		CreatedAt: moment(n.CreatedAt), ReadAt: moment(n.ReadAt), ReportID: n.ReportID, StatusID: n.StatusID, Muted: n.Muted,
		URL: n.URL, Replaces: n.Replaces, ExpiresAt: moment(n.ExpiresAt), By: n.By}
	if n.Data != "" {
		d.Data = json.RawMessage(n.Data)
	}
	return d
}

// tombstone is a row of falcon_tombstones: what remains of a notification that is gone.
type tombstone struct {
	bun.BaseModel `bun:"table:falcon_tombstones,alias:g"`

	ID          int64 `bun:",pk"`
	UserID      bridge.UserID
	Seq         bridge.Seq
	Kind        bridge.Kind
	Why         why
	At          int64
	CommittedAt int64
	By          string
}

// inbox is a row of falcon_inboxes. Its lock serializes all changes to a user's
// notifications.
type inbox struct {
	bun.BaseModel `bun:"table:falcon_inboxes,alias:i"`

	UserID        bridge.UserID `bun:",pk"`
	LastSeq       bridge.Seq
	Total         int64
	Unread        int64
	ReviewEnabled bool
	ErasedSeq     bridge.Seq // rows up to it are being erased, see erase.go; 0: none
	Rev           bridge.Rev
	RevFrom       bridge.Rev // falcon_changes has all changes after this one
	Kinds         kindSettings
	HiddenTotal   int64 // how many of Total are hidden
	HiddenUnread  int64 // how many of Unread are hidden

	ExpiredTotal  int64 `bun:",scanonly"` // see withExpired
	ExpiredUnread int64 `bun:",scanonly"`

	// Latest is the retained message, see withLatest.
	Latest *notification `bun:"rel:has-one,join:user_id=user_id"`
}

// changed is a row of falcon_changes. It says that a notification changed, or with ID 0
// that all notifications up to Seq were read.
type changed struct {
	bun.BaseModel `bun:"table:falcon_changes,alias:c"`

	UserID bridge.UserID `bun:",pk"`
	Rev    bridge.Rev    `bun:",pk"`
	ID     int64         `bun:",pk"`
	Seq    bridge.Seq
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

// domain converts r to the type of package bridge.
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
	Node       string // the node of the open connection; "": none
	ExpiryMs   int64
	ExpiresAt  int64 // 0: while open
	UsedAt     int64
	Subscribed bool
	Qos        byte
	Rap        bool // Retain As Published
	SubID      int  // subscription identifier
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	SentSeq    bridge.Seq // -1: unknown, because the connection is open or its node died
	Recent     []byte     // the latest advances, see advances.go
	WrittenSeq bridge.Seq // the open connection has sent at least up to here
	WrittenAt  int64      // when WrittenSeq was recorded; 0: unknown, so more may have been sent

	Host *node `bun:"rel:belongs-to,join:node=id"`
}

// history is a row of falcon_histories: the moves of a session's cursor before the recent
// ones, which are in the row of the session.
type history struct {
	bun.BaseModel `bun:"table:falcon_histories,alias:h"`

	UserID   bridge.UserID `bun:",pk"`
	ClientID string        `bun:",pk"`
	Advances []byte
	Skips    []byte
}

// pastSession is a row of falcon_past_sessions: a session that ended. Triggers insert them.
type pastSession struct {
	bun.BaseModel `bun:"table:falcon_past_sessions,alias:p"`

	UserID     bridge.UserID `bun:",pk"`
	Generation int64         `bun:",pk"`
	ClientID   string
	EndedAt    int64
	UsedAt     int64
	Subscribed bool
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	SentSeq    bridge.Seq
	WrittenSeq bridge.Seq
	WrittenAt  int64
	Advances   []byte
	Skips      []byte
}

// connection is a row of falcon_connections.
type connection struct {
	bun.BaseModel `bun:"table:falcon_connections,alias:c"`

	UserID     bridge.UserID `bun:",pk"`
	ClientID   string        `bun:",pk"`
	Generation int64
	Node       string
	Protocol   byte
	Transport  string
	Remote     string
	Persistent bool
	Since      int64

	Host *node `bun:"rel:belongs-to,join:node=id"`
}

// node is a row of falcon_nodes.
type node struct {
	bun.BaseModel `bun:"table:falcon_nodes,alias:o"`

	ID        string `bun:",pk"`
	StartedAt int64  // 0: it never sent a beat, see deadNodes
	BeatAt    int64
	Figures   string // JSON
}

// order is a row of falcon_orders: a request to nodes to end connections.
type order struct {
	bun.BaseModel `bun:"table:falcon_orders,alias:o"`

	ID         int64  `bun:",pk,autoincrement"`
	Node       string // "": every node
	UserID     bridge.UserID
	ClientID   string // "": all devices of the user
	Generation int64  // connections with lower generations end
	Reason     bridge.EndReason
	At         int64
}

// revocation is a row of falcon_revocations: of one token (Jti) or of a user's tokens.
type revocation struct {
	bun.BaseModel `bun:"table:falcon_revocations,alias:v"`

	Jti       string        `bun:",pk"`
	UserID    bridge.UserID `bun:",pk"`
	BeforeAt  int64         // with UserID: tokens issued before this time are revoked
	ExpiresAt int64         // with Jti: exp of the token; 0: unknown
	At        int64
}

// relay is the row of falcon_relay.
type relay struct {
	bun.BaseModel `bun:"table:falcon_relay,alias:r"`

	ID        int    `bun:",pk"` // always 1
	Node      string // which node holds the lease; "": none
	HeldUntil int64
	State     string
}

// touched is a row of falcon_touched: a user whose retained message may have changed other
// than by a new notification. Only Postgres has the column xid.
type touched struct {
	bun.BaseModel `bun:"table:falcon_touched,alias:t"`

	ID     int64 `bun:",pk,autoincrement"`
	UserID bridge.UserID
	Xid    uint64 `bun:",scanonly"`
}

// imported is a row of falcon_imports: an entry that was imported, by its id in the other
// application.
type imported struct {
	bun.BaseModel `bun:"table:falcon_imports,alias:m"`

	Kind string `bun:",pk"`
	ID   string `bun:",pk"`
	At   int64
}

// task is a row of falcon_tasks or falcon_steps: work on a user's rows that is not finished,
// see task.go.
type task struct {
	bun.BaseModel `bun:"table:falcon_tasks,alias:t"`

	Kind    string        `bun:",pk"`
	UserID  bridge.UserID `bun:",pk"`
	UpTo    int64         // the last seq to work on; with eraseTask the last report's id, or endsLeft
	AtSeq   bridge.Seq    // notifications up to this one are done
	BegunAt int64
}

// meta is a row of falcon_meta.
type meta struct {
	bun.BaseModel `bun:"table:falcon_meta,alias:m"`

	Key   string `bun:",pk"`
	Value string
}

// auditEntry is a row of falcon_audit.
type auditEntry struct {
	bun.BaseModel `bun:"table:falcon_audit,alias:a"`

	ID     int64 `bun:",pk,autoincrement"`
	At     int64
	Sub    bridge.UserID
	Jti    string
	Action bridge.AuditAction
	UserID bridge.UserID // "": none
	Remote string
	Detail string
}
