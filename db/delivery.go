package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Deliveries returns for each session of n's user whether it acknowledged n. One
// that skipped n is left out: n is at or before from_seq (a first subscription, a
// jump), was muted, or came while the device was not subscribed.
func (d *DB) Deliveries(ctx context.Context, n bridge.Notification) ([]bridge.Delivery, error) {
	if n.Muted {
		return []bridge.Delivery{}, nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []session
	err := withHost(d.read.NewSelect().Model(&rows)).Where("s.user_id = ?", n.User).Where("s.from_seq < ?", n.Seq).
		Where("s.subscribed OR s.acked_seq >= ?", n.Seq).Where("?", d.kept()).Order("s.client_id").Scan(ctx)
	if err != nil {
		return nil, d.fail("list deliveries", err)
	}
	acks, err := d.acknowledgements(ctx, n.User, n.Seq)
	if err != nil {
		return nil, d.fail("list deliveries", err)
	}
	return domains(rows, func(s *session) bridge.Delivery {
		out := bridge.Delivery{ClientID: s.ClientID, Acknowledged: s.AckedSeq >= n.Seq}
		if out.Acknowledged {
			out.AcknowledgedAt = moment(acks[s.ClientID])
		}
		return out
	}), nil
}

// acknowledgements returns, for each of u's devices that acknowledged seq as far as
// falcon_acks has it, by when it did so, in Unix ms. Connections of a former epoch counted
// in a log that is gone.
func (d *DB) acknowledgements(ctx context.Context, u bridge.UserID, seq bridge.Seq) (map[string]int64, error) {
	var rows []ack
	err := d.read.NewSelect().Model(&rows).Column("client_id").ColumnExpr("min(a.at) AS at").Where("a.user_id = ?", u).
		Where("a.from_seq < ?", seq).Where("a.acked_seq >= ?", seq).Where("a.generation > ?", bun.Safe(currentEpoch)).
		Group("a.client_id").Order("a.client_id").Scan(ctx)
	by := make(map[string]int64, len(rows))
	for _, r := range rows {
		by[r.ClientID] = r.At
	}
	return by, err
}

// currentEpoch is the last generation of the epoch before: later ones are current.
const currentEpoch = "coalesce((SELECT e.generation FROM falcon_epochs AS e ORDER BY e.number DESC LIMIT 1), 0)"
