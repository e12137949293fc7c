package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// The live state of an inbox. falcon_changes records which notifications changed in which
// rev, but not how they changed: their current state is read from their rows. A device that
// missed any number of changes therefore needs the latest state of each notification just
// once, and a record that is applied twice, or together with a later one, does no harm.
//
// "All notifications up to a seq were read" is a single record. It is right for all of these
// notifications except those that were marked unread later. They have a later record of
// their own, and devices apply the ids of a state message after its read_up_to. If marking
// as read takes several steps, each step records again the notifications before it that
// were marked unread meanwhile, see readStep.

// keptChanges is how many records of a user are kept. It is more than bridge.MaxChanged: a
// device that has missed more notifications than that fetches the list again anyway.
const keptChanges = 256

// stateChange is how a transaction changes an inbox.
type stateChange struct {
	ids     []int64    // notifications that were read, marked unread or removed
	upTo    bridge.Seq // all notifications up to it were read; 0: none
	refetch bool       // devices must fetch the list again: a mute, or too many ids

	total, unread             int64 // how much the counts of all rows grew
	hiddenTotal, hiddenUnread int64 // how much the counts of hidden rows grew; total and unread include these
}

// gone adds the removal of a notification.
func (c *stateChange) gone(n *notification) {
	c.ids = append(c.ids, n.ID)
	c.total--
	if n.ReadAt == 0 {
		c.unread--
	}
	if n.Hidden {
		c.hiddenTotal--
		if n.ReadAt == 0 {
			c.hiddenUnread--
		}
	}
}

// change increments box.Rev, records c under the new rev and updates the counts. tx holds
// the lock of the inbox row. Every change of an inbox other than an append goes through
// this method. On Postgres it calls falcon_change, whose current text is in the migration
// 20261129000120_state.
func (d *DB) change(ctx context.Context, tx bun.Tx, box *inbox, c stateChange) error {
	box.Total, box.Unread = box.Total+c.total, box.Unread+c.unread
	box.HiddenTotal, box.HiddenUnread = box.HiddenTotal+c.hiddenTotal, box.HiddenUnread+c.hiddenUnread
	box.Rev++
	refetch := c.refetch || len(c.ids) > bridge.MaxChanged
	if d.dialect == Postgres {
		var ids any
		if !refetch {
			ids = pgdialect.Array(append([]int64{}, c.ids...))
		}
		_, err := tx.ExecContext(ctx, "SELECT falcon_change(?, ?::bigint[], ?, ?, ?, ?, ?)", box.UserID, ids, c.total, c.unread, c.hiddenTotal, c.hiddenUnread, c.upTo)
		return err
	}
	cut := box.Rev
	if !refetch {
		var err error
		if cut, err = recordChange(ctx, tx, box, c); err != nil {
			return err
		}
	}
	if cut > 0 {
		box.RevFrom = cut
		if _, err := tx.NewDelete().Model((*changed)(nil)).Where("user_id = ?", box.UserID).Where("rev <= ?", cut).Exec(ctx); err != nil {
			return err
		}
	}
	_, err := tx.NewUpdate().Model(box).Column("total", "unread", "hidden_total", "hidden_unread", "rev", "rev_from").WherePK().Exec(ctx)
	return err
}

// recordChange stores the records of c on SQLite. If the user then has more than keptChanges
// records, it returns the rev up to which the caller deletes them, otherwise 0.
func recordChange(ctx context.Context, tx bun.Tx, box *inbox, c stateChange) (cut bridge.Rev, err error) {
	var rows []changed
	for _, id := range c.ids {
		rows = append(rows, changed{UserID: box.UserID, Rev: box.Rev, ID: id})
	}
	if c.upTo > 0 {
		rows = append(rows, changed{UserID: box.UserID, Rev: box.Rev, Seq: c.upTo})
	}
	if len(rows) == 0 {
		return 0, nil
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return 0, err
	}
	err = tx.NewSelect().Model((*changed)(nil)).Column("rev").Where("c.user_id = ?", box.UserID).
		Order("c.rev DESC", "c.id DESC").Offset(keptChanges).Limit(1).Scan(ctx, &cut)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return cut, err
}

// stateRow is an inbox, with one of its changes and the state of the notification that
// changed.
type stateRow struct {
	inbox `bun:",extend"`

	ChangedID  *int64      `bun:",scanonly"`
	ChangedSeq *bridge.Seq `bun:",scanonly"`
	There      bool        `bun:",scanonly"`
	IsRead     bool        `bun:",scanonly"`
}

// changesQuery selects u's inbox, the records after since, and the notification of each
// record by its id. The records are a range of the primary key with at most twice
// keptChanges rows. A single statement reads all of this, so that it is from one snapshot.
func (d *DB) changesQuery(rows *[]stateRow, u bridge.UserID, since bridge.Rev) *bun.SelectQuery {
	own := d.withExpired(d.read.NewSelect().Model((*inbox)(nil))).Where("i.user_id = ?", u)
	return d.read.NewSelect().With("own", own).Model(rows).ModelTableExpr("own AS i").ColumnExpr("i.*").
		ColumnExpr("c.id AS changed_id, c.seq AS changed_seq, n.id IS NOT NULL AS there, coalesce(n.read_at > 0, ?) AS is_read", false).
		Join("LEFT JOIN falcon_changes AS c ON c.user_id = i.user_id AND c.rev > ? AND ? >= i.rev_from", since, since).
		Join("LEFT JOIN falcon_notifications AS n ON n.id = c.id AND n.user_id = i.user_id AND n.seq > i.erased_seq")
}

// Changes implements bridge.History.
func (d *DB) Changes(ctx context.Context, u bridge.UserID, since bridge.Rev) (bridge.State, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []stateRow
	if err := d.changesQuery(&rows, u, since).Scan(ctx); err != nil {
		return bridge.State{}, d.fail("read what changed", err)
	}
	box := inbox{UserID: u, ReviewEnabled: true}
	if len(rows) > 0 {
		box = rows[0].inbox
	}
	s := box.state()
	if since < box.RevFrom || since > box.Rev {
		return s, nil
	}
	s.From = &since
	seen := make(map[int64]bool, len(rows))
	for i := range rows {
		r := &rows[i]
		switch {
		case r.ChangedID == nil:
		case *r.ChangedID == 0:
			s.ReadUpTo = max(s.ReadUpTo, *r.ChangedSeq)
		case seen[*r.ChangedID]:
		case !r.There:
			s.Deleted = append(s.Deleted, *r.ChangedID)
		case r.IsRead:
			s.Read = append(s.Read, *r.ChangedID)
		default:
			s.UnreadIDs = append(s.UnreadIDs, *r.ChangedID)
		}
		if r.ChangedID != nil {
			seen[*r.ChangedID] = true
		}
	}
	if len(s.Read)+len(s.UnreadIDs)+len(s.Deleted) > bridge.MaxChanged {
		return s.Refetch(), nil
	}
	return s, nil
}

// Revs implements delivery.States. It looks up each user in the primary key.
func (d *DB) Revs(ctx context.Context, users []bridge.UserID) (map[bridge.UserID]bridge.Rev, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []inbox
	if err := d.read.NewSelect().Model(&rows).Column("user_id", "rev").Where("i.user_id IN (?)", bun.List(users)).Scan(ctx); err != nil {
		return nil, d.fail("read the revs of inboxes", err)
	}
	revs := make(map[bridge.UserID]bridge.Rev, len(rows))
	for i := range rows {
		revs[rows[i].UserID] = rows[i].Rev
	}
	return revs, nil
}

// state returns the state message for a device that has to fetch the list again.
func (i *inbox) state() bridge.State {
	n := i.count()
	s := bridge.State{Rev: i.Rev, Last: n.Last, Unread: n.Unread, Total: n.Total, Kinds: make(map[bridge.Kind]int, len(i.Kinds))}
	if i.ReviewEnabled {
		s.ReviewEnabled = 1
	}
	for k, on := range i.Kinds {
		s.Kinds[k] = 0
		if on {
			s.Kinds[k] = 1
		}
	}
	return s.Refetch()
}

// kindSettings are a user's settings of kinds, false for a muted kind. They are stored as a
// JSON object whose values are 0 and 1.
type kindSettings map[bridge.Kind]bool

// Value implements driver.Valuer.
func (k kindSettings) Value() (driver.Value, error) {
	stored := make(map[bridge.Kind]int, len(k))
	for kind, on := range k {
		stored[kind] = 0
		if on {
			stored[kind] = 1
		}
	}
	b, err := json.Marshal(stored)
	return string(b), err
}

// Scan implements sql.Scanner.
func (k *kindSettings) Scan(src any) error {
	var b []byte
	switch v := src.(type) {
	case nil:
	case []byte:
		b = v
	case string:
		b = []byte(v)
	default:
		return fmt.Errorf("settings of kinds as %T", src)
	}
	*k = nil
	if len(b) <= len("{}") { // nearly all users have no such settings
		return nil
	}
	stored := map[bridge.Kind]int{}
	if err := json.Unmarshal(b, &stored); err != nil {
		return fmt.Errorf("settings of kinds: %w", err)
	}
	*k = make(kindSettings, len(stored))
	for kind, n := range stored {
		(*k)[kind] = n != 0
	}
	return nil
}

// hides reports whether notifications of the given kind are hidden.
func (k kindSettings) hides(kind bridge.Kind) bool {
	shown, chosen := k[kind]
	return chosen && !shown
}

// hiddenKind is a condition that reports whether the inbox i hides notifications of n's
// kind.
const hiddenKind = "(coalesce(CAST(i.kinds ->> n.kind AS text), '1') = '0')"

// changeGone records the removal of notifications in their users' inboxes, as [DB.change]
// does for one inbox. tx holds the locks of these inboxes.
func (d *DB) changeGone(ctx context.Context, tx bun.Tx, gone []notification) error {
	if len(gone) == 0 {
		return nil
	}
	if d.dialect == Postgres {
		_, err := tx.ExecContext(ctx, "SELECT falcon_change(g.u, array_agg(g.id), -count(*), -count(*) FILTER (WHERE g.unread), "+
			"-count(*) FILTER (WHERE g.hidden), -count(*) FILTER (WHERE g.hidden AND g.unread)) "+
			"FROM unnest(?::text[], ?::bigint[], ?::boolean[], ?::boolean[]) AS g(u, id, unread, hidden) GROUP BY g.u",
			array(gone, func(n notification) string { return string(n.UserID) }), array(gone, func(n notification) int64 { return n.ID }),
			array(gone, func(n notification) bool { return n.ReadAt == 0 }), array(gone, func(n notification) bool { return n.Hidden }))
		return err
	}
	changes := make(map[bridge.UserID]*stateChange)
	for i := range gone {
		u := gone[i].UserID
		if changes[u] == nil {
			changes[u] = &stateChange{}
		}
		changes[u].gone(&gone[i])
	}
	for _, u := range slices.Sorted(maps.Keys(changes)) {
		box := inbox{UserID: u}
		if err := tx.NewSelect().Model(&box).WherePK().Scan(ctx); err != nil {
			return err
		}
		if err := d.change(ctx, tx, &box, *changes[u]); err != nil {
			return err
		}
	}
	return nil
}
