package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

// lease is a row of falcon_leases: which node does a task that only one node may do, and
// how far it has got.
type lease struct {
	bun.BaseModel `bun:"table:falcon_leases,alias:e"`

	Name      string `bun:",pk"`
	Node      string // who has it; "": none
	HeldUntil int64
	State     string
}

// takeLease takes a lease for node, or renews it, until ttl from now by the database's
// clock. held is false while another node has it; state is what the last holder saved.
func (d *DB) takeLease(ctx context.Context, name, node string, ttl time.Duration) (state string, held bool, err error) {
	err = d.write.NewInsert().Model(&lease{Name: name, Node: node}).Value("held_until", "? + ?", d.clock(), ttl.Milliseconds()).
		On("CONFLICT (name) DO UPDATE").Set("node = excluded.node").Set("held_until = excluded.held_until").
		Where("e.node IN ('', excluded.node) OR e.held_until <= ?", d.clock()).Returning("state").Scan(ctx, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return state, err == nil, err
}

// saveLease stores state where node has the lease, unless the database was restored
// since the last look, see SaveRelay.
func (d *DB) saveLease(ctx context.Context, tx bun.IDB, name, node, state string) (held bool, err error) {
	same, here := d.epoch.same()
	n, err := affected(tx.NewUpdate().Model((*lease)(nil)).Set("state = ?", state).
		Where("name = ?", name).Where("node = ?", node).Where(same, here...).Exec(ctx))
	return n > 0, err
}

// releaseLease releases a lease.
func (d *DB) releaseLease(ctx context.Context, name, node string) error {
	_, err := d.write.NewUpdate().Model((*lease)(nil)).Set("node = ''").Where("name = ?", name).Where("node = ?", node).Exec(ctx)
	return err
}
