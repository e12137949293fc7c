package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
)

// Deliveries tells of the sessions of n's user whether they acknowledged n. One
// that skipped n is left out: n is at or before from_seq (a first subscription, a
// jump), was muted, or came while the device was not subscribed.
func (d *DB) Deliveries(ctx context.Context, n bridge.Notification) ([]bridge.Delivery, error) {
	out := []bridge.Delivery{}
	if n.Muted {
		return out, nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	rows, err := d.rows(ctx, "SELECT s.client_id, s.acked_seq >= ? FROM falcon_sessions s LEFT JOIN falcon_nodes n ON n.id = s.node "+
		"WHERE s.user_id = ? AND s.from_seq < ? AND (s.subscribed OR s.acked_seq >= ?) AND "+d.kept()+" ORDER BY s.client_id",
		n.Seq, n.User, n.Seq, n.Seq)
	if err != nil {
		return nil, d.fail("list deliveries", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v bridge.Delivery
		if err := rows.Scan(&v.ClientID, &v.Acknowledged); err != nil {
			return nil, d.fail("list deliveries", err)
		}
		out = append(out, v)
	}
	return out, d.fail("list deliveries", rows.Err())
}
