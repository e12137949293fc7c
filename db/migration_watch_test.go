package db

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestALongMigrationIsLogged(t *testing.T) {
	var log logged
	w := watchMigration(log.logger(), time.Millisecond)
	defer w.stop()
	want := errors.New("from the hook")
	hook := w.before(func(context.Context, bun.IConn, *migrate.Migration) error { return want })
	if err := hook(testContext(t), nil, &migrate.Migration{Name: "20261124000001", Comment: "log"}); !errors.Is(err, want) {
		t.Errorf("the hook returned %v, want %v", err, want)
	}
	testserver.Eventually(t, 5*time.Second, func() error {
		if log.count("migration=20261124000001_log") == 0 {
			return errors.New("the migration is not logged")
		}
		return nil
	})
}
