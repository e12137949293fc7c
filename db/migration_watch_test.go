package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// spoken is a log that can be read while it is written.
type spoken struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestALongMigrationIsToldOf(t *testing.T) {
	var said spoken
	w := watchMigration(slog.New(slog.NewTextHandler(&said, nil)), time.Millisecond)
	defer w.stop()
	want := errors.New("of the hook")
	hook := w.before(func(context.Context, bun.IConn, *migrate.Migration) error { return want })
	if err := hook(testContext(t), nil, &migrate.Migration{Name: "20261124000001", Comment: "log"}); !errors.Is(err, want) {
		t.Errorf("the hook answered %v", err)
	}
	testserver.Eventually(t, 5*time.Second, func() error {
		if !strings.Contains(said.String(), "migration=20261124000001_log") {
			return fmt.Errorf("the log says %q", said.String())
		}
		return nil
	})
}
