package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
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
	return domains(rows, func(s *session) bridge.Delivery {
		return bridge.Delivery{ClientID: s.ClientID, Acknowledged: s.AckedSeq >= n.Seq}
	}), nil
}
