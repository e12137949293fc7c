package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// ack is a row of falcon_acks.
type ack struct {
	bun.BaseModel `bun:"table:falcon_acks,alias:a"`

	UserID     bridge.UserID `bun:",pk"`
	ClientID   string        `bun:",pk"`
	Generation int64         `bun:",pk"`
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	At         int64
}

// Acknowledged stores what connections acknowledged; as have no two of one generation. It
// is one statement, whose rows are in the order of the primary key, so that two nodes never
// deadlock.
func (d *DB) Acknowledged(ctx context.Context, as []bridge.Ack) error {
	if len(as) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	rows := domains(as, func(a *bridge.Ack) ack {
		return ack{UserID: a.Device.User, ClientID: a.Device.ClientID, Generation: a.Generation, FromSeq: a.From, AckedSeq: a.To}
	})
	// After a jump what was acknowledged before it is forgotten: a row is one range.
	_, err := d.write.NewInsert().Model(&rows).Value("at", "?", d.clock()).On("CONFLICT (user_id, client_id, generation) DO UPDATE").
		Set("from_seq = CASE WHEN excluded.from_seq > a.acked_seq OR excluded.from_seq < a.from_seq THEN excluded.from_seq ELSE a.from_seq END").
		Set("acked_seq = CASE WHEN excluded.acked_seq > a.acked_seq THEN excluded.acked_seq ELSE a.acked_seq END").
		Set("at = excluded.at").Exec(ctx)
	return d.fail("store acknowledgements", err)
}
