package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

// lease is a row of falcon_leases: which node does a job that only one node may do at a
// time, and how far it has got.
type lease struct {
	bun.BaseModel `bun:"table:falcon_leases,alias:e"`

	Name      string `bun:",pk"`
	Node      string // which node holds it; "": none
	HeldUntil int64
	State     string
}

// acquireLease acquires or renews a lease for node until ttl from now, by the database's
// clock. held is false while another node holds it. state is what the last holder saved.
func (d *DB) acquireLease(ctx context.Context, name, node string, ttl time.Duration) (state string, held bool, err error) {
	err = d.write.NewInsert().Model(&lease{Name: name, Node: node}).Value("held_until", "? + ?", d.clock(), ttl.Milliseconds()).
		On("CONFLICT (name) DO UPDATE").Set("node = excluded.node").Set("held_until = excluded.held_until").
		Where("e.node IN ('', excluded.node) OR e.held_until <= ?", d.clock()).Returning("state").Scan(ctx, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return state, err == nil, err
}

// saveLease stores state if node holds the lease and the database has not been restored
// since the last check of the epoch, see SaveRelay.
func (d *DB) saveLease(ctx context.Context, tx bun.IDB, name, node, state string) (held bool, err error) {
	notRestored, args := d.epoch.notRestored()
	n, err := affected(tx.NewUpdate().Model((*lease)(nil)).Set("state = ?", state).
		Where("name = ?", name).Where("node = ?", node).Where(notRestored, args...).Exec(ctx))
	return n > 0, err
}

// releaseLease ends a lease early, so that another node need not wait until it lapses.
func (d *DB) releaseLease(ctx context.Context, name, node string) error {
	_, err := d.write.NewUpdate().Model((*lease)(nil)).Set("node = ''").Where("name = ?", name).Where("node = ?", node).Exec(ctx)
	return err
}
