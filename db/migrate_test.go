package db

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestMigrationsGoUpDownAndUpAgain(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		status, err := d.Status(ctx)
		if err != nil || len(status) == 0 || status[0].AppliedAt.IsZero() {
			t.Fatalf("status after up: %v, %v", status, err)
		}
		if again, err := d.Up(ctx); err != nil || len(again) != 0 {
			t.Fatalf("a second up applied %v, %v", again, err)
		}
		if down, err := d.Down(ctx); err != nil || len(down) != len(status) {
			t.Fatalf("down took back %v, %v", down, err)
		}
		left := "SELECT count(*) FROM sqlite_master WHERE name LIKE 'falcon_%' AND name NOT LIKE 'falcon_migration%'"
		if d.dialect == Postgres {
			left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'falcon_%' AND relname NOT LIKE 'falcon_migration%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'falcon_%')"
		}
		if n := number(t, d, left); n != 0 {
			t.Errorf("down left %d objects behind", n)
		}
		if status, err = d.Status(ctx); err != nil || !status[0].AppliedAt.IsZero() {
			t.Errorf("status after down: %v, %v", status, err)
		}
		if up, err := d.Up(ctx); err != nil || len(up) != len(status) {
			t.Errorf("up after down applied %v, %v", up, err)
		}
	})
}

func TestManyNodesMigrateAtOnce(t *testing.T) {
	for name, url := range map[string]string{
		"SQLite":   filepath.Join(t.TempDir(), "falcon.db"),
		"Postgres": testserver.Postgres(t),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			var wg sync.WaitGroup
			errs := make([]error, 4)
			counts := make([]int, 4)
			for i := range errs {
				wg.Go(func() {
					d, err := Open(ctx, Options{URL: url, Logger: quiet})
					if err != nil {
						errs[i] = err
						return
					}
					names, err := d.Up(ctx)
					counts[i], errs[i] = len(names), errors.Join(err, d.Close())
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			did := 0
			for _, n := range counts {
				if n > 0 {
					did++
				}
			}
			if did != 1 {
				t.Errorf("%d nodes say they migrated, want 1", did)
			}
		})
	}
}
