package db

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Under load, calls run out of time because there is much to do. If that closed the idle
// connections, the next calls would also have to connect, which would make things worse.
func TestATimeoutClosesNoIdleConnection(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	brief := func() context.Context {
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	run := func(query string) error {
		_, err := d.read.ExecContext(brief(), query)
		return err
	}
	for name, call := range map[string]func() error{
		"a slow statement, by the call's deadline": func() error { return run("SELECT pg_sleep(20)") },
		"a slow statement, by statement_timeout": func() error {
			_, err := d.read.ExecContext(testContext(t), "BEGIN; SET LOCAL statement_timeout = 1; SELECT pg_sleep(20)")
			return err
		},
		"waiting for a connection": func() error {
			d.read.SetMaxOpenConns(1)
			defer resize(d.read.DB, d.reads)
			busy, err := d.read.Conn(testContext(t))
			must(t, err)
			defer func() { _ = busy.Close() }()
			return run("SELECT 1")
		},
		"a caller who gave up": func() error {
			ctx, cancel := context.WithCancel(testContext(t))
			cancel()
			_, err := d.read.ExecContext(ctx, "SELECT 1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.purged.Store(0)
			if err := d.fail("try", call()); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("error %v, want ErrUnavailable", err)
			}
			if d.purged.Load() != 0 {
				t.Error("the idle connections were closed")
			}
		})
	}
	t.Run("a broken connection closes them", func(t *testing.T) {
		d.purged.Store(0)
		_, err := d.read.ExecContext(testContext(t), "SELECT pg_terminate_backend(pg_backend_pid())")
		if err = d.fail("try", err); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
		if d.purged.Load() == 0 {
			t.Error("the idle connections were not closed")
		}
	})
}
