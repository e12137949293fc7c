package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// ack is a row of falcon_acks: the range of seqs that one connection acknowledged.
type ack struct {
	bun.BaseModel `bun:"table:falcon_acks,alias:a"`

	UserID     bridge.UserID `bun:",pk"`
	ClientID   string        `bun:",pk"`
	Generation int64         `bun:",pk"`
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	At         int64
}

// Acknowledged stores what connections acknowledged, in one statement. No two of acks may
// have the same generation. A generation belongs to one connection, and therefore to one
// node, so two nodes never write the same row and cannot deadlock here.
func (d *DB) Acknowledged(ctx context.Context, acks []bridge.Ack) error {
	if len(acks) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	rows := domains(acks, func(a *bridge.Ack) ack {
		return ack{UserID: a.Device.User, ClientID: a.Device.ClientID, Generation: a.Generation, FromSeq: a.From, AckedSeq: a.To}
	})
	// A row is one range of seqs. A range that does not continue the stored one replaces it.
	_, err := d.write.NewInsert().Model(&rows).Value("at", "?", d.clock()).On("CONFLICT (user_id, client_id, generation) DO UPDATE").
		Set("from_seq = CASE WHEN excluded.from_seq > a.acked_seq OR excluded.from_seq < a.from_seq THEN excluded.from_seq ELSE a.from_seq END").
		Set("acked_seq = CASE WHEN excluded.acked_seq > a.acked_seq THEN excluded.acked_seq ELSE a.acked_seq END").
		Set("at = excluded.at").Exec(ctx)
	return d.fail("store acknowledgements", err)
}
