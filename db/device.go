package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// registration is a row of falcon_registrations: a device registered for Web Push.
type registration struct {
	bun.BaseModel `bun:"table:falcon_registrations,alias:r"`

	UserID       bridge.UserID `bun:",pk"`
	ClientID     string        `bun:",pk"`
	Endpoint     string
	EndpointHash string
	P256dh       string
	Auth         string
	Jti          string
	Iat          int64
	UsedAt       int64
}

func (r *registration) domain() bridge.Registration {
	return bridge.Registration{Device: bridge.Device{User: r.UserID, ClientID: r.ClientID}, Endpoint: r.Endpoint,
		P256DH: r.P256dh, Auth: r.Auth, TokenID: r.Jti, IssuedAt: moment(r.Iat)}
}

// endpointHash returns the hash by which endpoints are indexed, since they may be too long
// for an index entry.
func endpointHash(endpoint string) string {
	sum := sha256.Sum256([]byte(endpoint))
	return hex.EncodeToString(sum[:])
}

// Advisory locks of registrations; inbox.go has those of users.
const (
	// revokeLock is acquired in shared mode by registrations and exclusively by a
	// revocation. A registration is therefore stored either before the revocation, which
	// then removes it, or after the revocation, in which case it finds its token revoked.
	revokeLock   = 1704
	registerLock = 1705 // the class of the locks of an endpoint and of a user, acquired in this order
)

// RegisterDevice implements bridge.Devices. It takes the endpoint away from any other
// device. Under the user's lock it counts the registrations of the user's other devices,
// and fails with bridge.ErrConflict if there are [bridge.MaxRegistrations] already; a device
// that is registered can always renew. (Sessions have a limit of their own, which removes
// the oldest instead, see storeSession.)
func (d *DB) RegisterDevice(ctx context.Context, r bridge.Registration) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	row := registration{UserID: r.Device.User, ClientID: r.Device.ClientID, Endpoint: r.Endpoint, EndpointHash: endpointHash(r.Endpoint),
		P256dh: r.P256DH, Auth: r.Auth, Jti: r.TokenID}
	if !r.IssuedAt.IsZero() {
		row.Iat = millis(r.IssuedAt)
	}
	return d.fail("register a device", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared(?)", revokeLock); err != nil {
				return err
			}
		}
		for _, name := range []string{"endpoint " + row.EndpointHash, string(row.UserID)} {
			if err := d.lockUser(ctx, tx, bridge.UserID(name), registerLock); err != nil {
				return err
			}
		}
		revoked, err := isRevoked(ctx, tx, bridge.Claims{User: row.UserID, ID: r.TokenID, IssuedAt: r.IssuedAt})
		if err != nil {
			return err
		}
		if revoked {
			return bridge.ErrForbidden
		}
		if _, err := tx.NewDelete().Model((*registration)(nil)).Where("endpoint_hash = ?", row.EndpointHash).
			Where("NOT (user_id = ? AND client_id = ?)", row.UserID, row.ClientID).Exec(ctx); err != nil {
			return err
		}
		others, err := tx.NewSelect().Model((*registration)(nil)).Where("user_id = ?", row.UserID).Where("client_id <> ?", row.ClientID).Count(ctx)
		if err != nil {
			return err
		}
		if others >= bridge.MaxRegistrations {
			return fmt.Errorf("%d devices are registered: %w", others, bridge.ErrConflict)
		}
		_, err = tx.NewInsert().Model(&row).Value("used_at", "?", d.clock()).On("CONFLICT (user_id, client_id) DO UPDATE").Exec(ctx)
		return err
	}))
}

// Registration implements bridge.Devices.
func (d *DB) Registration(ctx context.Context, dev bridge.Device) (bridge.Registration, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	row := registration{UserID: dev.User, ClientID: dev.ClientID}
	err := d.read.NewSelect().Model(&row).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		err = bridge.ErrNotFound
	}
	return row.domain(), d.fail("read a registration", err)
}

// deviceRow is a device in the list of its user's devices.
type deviceRow struct {
	ClientID  string
	Push      bool
	Session   bool
	Connected bool
	Seen      int64
}

// Devices implements bridge.Devices. It combines registrations, sessions and connections,
// and reads a range of each table's primary key. At most [bridge.MaxRegistrations] +
// [bridge.MaxSessions] devices have more than a connection.
func (d *DB) Devices(ctx context.Context, u bridge.UserID) ([]bridge.DeviceInfo, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []deviceRow
	err := d.read.NewRaw("SELECT x.client_id, max(x.push) > 0 AS push, max(x.session) > 0 AS session, max(x.connected) > 0 AS connected, max(x.seen) AS seen FROM ("+
		"SELECT r.client_id, 1 AS push, 0 AS session, 0 AS connected, r.used_at AS seen FROM falcon_registrations r WHERE r.user_id = ?0 "+
		"UNION ALL SELECT s.client_id, 0, 1, 0, s.used_at FROM falcon_sessions s LEFT JOIN falcon_nodes host ON host.id = s.node WHERE s.user_id = ?0 AND ?1 "+
		"UNION ALL SELECT c.client_id, 0, 0, 1, ?2 FROM falcon_connections c JOIN falcon_nodes o ON o.id = c.node WHERE c.user_id = ?0 AND o.beat_at > ?2 - ?3"+
		") AS x GROUP BY x.client_id ORDER BY x.client_id", u, d.kept(), d.clock(), bridge.NodeTimeout.Milliseconds()).Scan(ctx, &rows)
	return domains(rows, func(r *deviceRow) bridge.DeviceInfo {
		return bridge.DeviceInfo{ClientID: r.ClientID, Push: r.Push, Session: r.Session, Connected: r.Connected, LastSeen: moment(r.Seen)}
	}), d.fail("list devices", err)
}

// RemoveDevice implements bridge.Devices.
func (d *DB) RemoveDevice(ctx context.Context, dev bridge.Device) error {
	found := false
	err := func() error {
		ctx, cancel := bound(ctx)
		defer cancel()
		return d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			for _, model := range []any{(*registration)(nil), (*session)(nil)} {
				n, err := affected(tx.NewDelete().Model(model).Where("user_id = ?", dev.User).Where("client_id = ?", dev.ClientID).Exec(ctx))
				if err != nil {
					return err
				}
				found = found || n > 0
			}
			connected, err := tx.NewSelect().Model((*connection)(nil)).Where("user_id = ?", dev.User).Where("client_id = ?", dev.ClientID).Exists(ctx)
			found = found || connected
			return err
		})
	}()
	switch {
	case err != nil:
		return d.fail("remove a device", err)
	case !found:
		return fmt.Errorf("remove a device: %w", bridge.ErrNotFound)
	}
	return d.End(ctx, bridge.Order{User: dev.User, ClientID: dev.ClientID, Reason: bridge.EndAdmin})
}

// Unregister implements bridge.Devices.
func (d *DB) Unregister(ctx context.Context, r bridge.Registration) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err := d.write.NewDelete().Model((*registration)(nil)).Where("user_id = ?", r.Device.User).Where("client_id = ?", r.Device.ClientID).
		Where("endpoint_hash = ?", endpointHash(r.Endpoint)).Exec(ctx)
	return d.fail("remove a registration", err)
}

// unregisterRevoked removes the registrations that were made with a revoked token.
func (d *DB) unregisterRevoked(ctx context.Context, tx bun.Tx, v bridge.Revocation) error {
	q := tx.NewDelete().Model((*registration)(nil))
	if v.User != "" {
		q.Where("user_id = ?", v.User).Where("iat < ?", millis(v.Before)) // 0, of a token without iat, is before any
	} else {
		q.Where("jti = ?", v.ID).Where("jti <> ''")
	}
	_, err := q.Exec(ctx)
	return err
}

// expireRegistrations removes at most limit registrations that were last used longer than
// bridge.RegistrationLife ago. A connection counts as a use, and so does a session used
// within the last day. expireRegistrations itself records these uses, once a day for each
// registration, so that a CONNECT need not write to the table.
func (d *DB) expireRegistrations(ctx context.Context, limit int) (int, error) {
	const day = 24 * time.Hour
	// Only the limit oldest are looked at. Those of connected devices move to the end of the
	// index, so the next call sees others.
	old := d.write.NewSelect().Model((*registration)(nil)).Column("user_id", "client_id").
		Where("r.used_at < ? - ?", d.clock(), day.Milliseconds()).Order("r.used_at").Limit(int64(limit))
	used := "EXISTS (SELECT 1 FROM falcon_connections c WHERE c.user_id = r.user_id AND c.client_id = r.client_id) OR " +
		"EXISTS (SELECT 1 FROM falcon_sessions s WHERE s.user_id = r.user_id AND s.client_id = r.client_id AND s.used_at > r.used_at AND s.used_at > ? - ?)"
	if _, err := d.write.NewUpdate().WithQuery(bun.NewWithQuery("x", old).Materialized()).Model((*registration)(nil)).Set("used_at = ?", d.clock()).
		Where("(user_id, client_id) IN (SELECT user_id, client_id FROM x)").Where("("+used+")", d.clock(), day.Milliseconds()).Exec(ctx); err != nil {
		return 0, err
	}
	return d.remove(ctx, "user_id, client_id", d.write.NewSelect().Model((*registration)(nil)).
		Where("r.used_at <= ? - ?", d.clock(), bridge.RegistrationLife.Milliseconds()).Order("r.used_at"), limit)
}
