package db

import (
	"context"
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Deliveries reports, for each session of n's user, whether its device acknowledged n, and
// when, if that is known. Sessions that skipped n or were not subscribed are left out.
func (d *DB) Deliveries(ctx context.Context, n bridge.Notification) ([]bridge.Delivery, error) {
	if n.Muted {
		return []bridge.Delivery{}, nil // it was sent to no device
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	acks, err := d.acknowledgements(ctx, n.User, n.Seq)
	if err != nil {
		return nil, d.fail("list deliveries", err)
	}
	records, err := d.records(ctx, n.User)
	if err != nil {
		return nil, d.fail("list deliveries", err)
	}
	s := subject{ID: n.ID, UserID: n.User, Seq: n.Seq}
	out := []bridge.Delivery{}
	for i := range records {
		r := &records[i]
		if r.EndedAt != 0 {
			continue
		}
		if f, known := s.fateInSession(r, acks[r.ClientID]); known && f.State != bridge.DeviceSkipped {
			ok := f.State == bridge.DeviceAcknowledged
			v := bridge.Delivery{ClientID: r.ClientID, Acknowledged: ok}
			if ok {
				v.AcknowledgedAt = f.At
			}
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b bridge.Delivery) int { return strings.Compare(a.ClientID, b.ClientID) })
	return out, nil
}

// acknowledgements returns which of u's devices acknowledged seq according to falcon_acks,
// with the time by which they did so, in Unix ms. Connections of a former epoch are left
// out, because their seqs belong to the log before the restore.
func (d *DB) acknowledgements(ctx context.Context, u bridge.UserID, seq bridge.Seq) (map[string]int64, error) {
	var rows []ack
	err := d.read.NewSelect().Model(&rows).Column("client_id").ColumnExpr("min(a.at) AS at").Where("a.user_id = ?", u).
		Where("a.from_seq < ?", seq).Where("a.acked_seq >= ?", seq).Where("a.generation > ?", bun.Safe(currentEpoch)).
		Group("a.client_id").Order("a.client_id").Scan(ctx)
	ackedAt := make(map[string]int64, len(rows))
	for _, r := range rows {
		ackedAt[r.ClientID] = r.At
	}
	return ackedAt, err
}

// currentEpoch is SQL for the last generation of the previous epoch, or 0. Sessions and
// connections with a higher generation belong to the current epoch.
const currentEpoch = "coalesce((SELECT e.generation FROM falcon_epochs AS e ORDER BY e.number DESC LIMIT 1), 0)"
