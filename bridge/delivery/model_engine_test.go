package delivery_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
	"pgregory.net/rapid"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// engine is what one process runs. Its database outlives it.
type engine struct {
	t       *testing.T
	ctx     context.Context
	db      *db.DB
	hub     *delivery.Hub
	service *bridge.Service
	durable *durable
	stop    func()
	sql     *sql.DB // to the same database, without the engine
}

func sqliteURL(t *testing.T) string   { return "sqlite:" + filepath.Join(t.TempDir(), "falcon.db") }
func postgresURL(t *testing.T) string { return testserver.Postgres(t) }

func newEngine(t *testing.T, url string) *engine {
	e := &engine{t: t, ctx: background}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	d, err := db.Open(e.ctx, db.Options{URL: url, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Up(e.ctx); err != nil {
		t.Fatal(err)
	}
	e.db = d
	if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
		e.sql, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	} else {
		e.sql = sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	}
	if err != nil {
		t.Fatal(err)
	}
	e.start(quiet)
	t.Cleanup(func() {
		e.stop()
		_ = e.sql.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// expire moves the expiry of a notification into the past.
func (e *engine) expire(id int64) {
	if _, err := e.sql.ExecContext(e.ctx, fmt.Sprintf("UPDATE falcon_notifications SET expires_at = 1 WHERE id = %d", id)); err != nil {
		e.t.Fatal(err)
	}
}

// start runs a new hub.
func (e *engine) start(log *slog.Logger) {
	e.durable = &durable{Sessions: e.db, cursors: make(map[bridge.Device]bridge.Seq)}
	e.hub = delivery.NewHub(delivery.Options{Log: e.db, Sessions: e.durable, Feed: e.db, Cluster: e.db, Epoch: e.db.Epoch,
		Logger: log, Flush: 100 * time.Millisecond})
	if err := e.hub.Poll(e.ctx); err != nil {
		e.t.Fatal(err)
	}
	e.service = bridge.NewService(bridge.ServiceOptions{Log: e.db, History: e.db, Reports: e.db,
		Cluster: e.db, Hub: e.hub, Bus: silent{}})
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.hub.Run(ctx) // a killed engine fails to write cursors
	}()
	e.stop = func() { cancel(); <-done }
}

// kill ends the engine like kill -9: no cursor is written any more.
func (m *model) kill(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "really") > 0 {
		r.Skip("not now")
	}
	cursors := m.e.durable.kill()
	m.e.stop()
	m.e.start(slog.New(slog.NewTextHandler(io.Discard, nil)))
	for _, p := range m.phones {
		p.killed(cursors[p.device])
	}
}

// durable is a session store that records which cursors were written, until the process that
// uses it is killed.
type durable struct {
	delivery.Sessions
	mu      sync.Mutex
	dead    bool
	cursors map[bridge.Device]bridge.Seq
}

func (d *durable) Advance(ctx context.Context, as []bridge.Advance) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return bridge.ErrUnavailable
	}
	if err := d.Sessions.Advance(ctx, as); err != nil {
		return err
	}
	for _, a := range as {
		d.cursors[a.Device] = max(d.cursors[a.Device], a.Acked)
	}
	return nil
}

// Subscribe with since sets a cursor back.
func (d *durable) Subscribe(ctx context.Context, dev bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if since != nil {
		delete(d.cursors, dev)
	}
	return d.Sessions.Subscribe(ctx, dev, gen, s, since)
}

func (d *durable) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.Clean {
		delete(d.cursors, o.Device)
	}
	return d.Sessions.Open(ctx, o)
}

func (d *durable) kill() map[bridge.Device]bridge.Seq {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	return d.cursors
}

// silent is the bus of a single node.
type silent struct{}

func (silent) Publish(...bridge.Hint)                              {}
func (silent) Run(ctx context.Context, _ bridge.HintHandler) error { <-ctx.Done(); return nil }
func (silent) Ready() error                                        { return nil }
