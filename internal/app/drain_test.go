package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/config"
)

// A step that never returns is abandoned, and every other part is still stopped.
func TestATeardownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	undo := teardown{log: NewLogger(t.Output(), &config.Config{}, slog.LevelInfo)}
	stopped := make(chan struct{})
	undo.add("first", time.Hour, func(context.Context) error { close(stopped); return nil })
	undo.add("second", time.Hour, func(context.Context) error { select {} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := undo.run(ctx); err == nil || !strings.Contains(err.Error(), "stop the second") {
		t.Errorf("%v", err)
	}
	<-stopped
}

func TestAHangingStepDoesNotStopTheTeardown(t *testing.T) {
	t.Parallel()
	var order []string
	td := teardown{log: slog.New(slog.DiscardHandler)}
	td.add("first", time.Second, func(context.Context) error { order = append(order, "first"); return nil })
	td.add("hanging", 10*time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	td.add("last", time.Second, func(context.Context) error { order = append(order, "last"); return nil })
	err := td.run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "stop the hanging") {
		t.Errorf("error %v", err)
	}
	if len(order) != 2 || order[0] != "last" || order[1] != "first" {
		t.Errorf("order %q, want the last first", order)
	}
}
