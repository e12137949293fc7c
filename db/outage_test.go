package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// journal collects log lines.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// with returns the lines that contain text.
func (j *journal) with(text string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// listen collects what d logs about failed calls. The clock that limits these lines stands
// still until pass moves it.
func listen(d *DB) (j *journal, pass func(time.Duration)) {
	j, now := &journal{}, time.Unix(1e9, 0)
	var mu sync.Mutex
	d.outages.log = slog.New(slog.NewTextHandler(j, nil))
	d.outages.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	return j, func(t time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(t)
	}
}

func TestAMissingTableIsNamedOncePerInterval(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		mustAppend(t, d, one("u", "t"))
		exec(t, d, "ALTER TABLE falcon_inboxes RENAME TO elsewhere")
		log, pass := listen(d)
		for range 5 {
			_, err := d.Append(testContext(t), one("u", "a title"))
			if !errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), "falcon_inboxes is missing; migrate the schema (SQ") {
				t.Errorf("append: %v", err)
			}
		}
		lines := log.with("falcon_inboxes is missing")
		if len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], "operation=append") {
			t.Fatalf("logged: %q", lines)
		}
		pass(outageEvery)
		if _, err := d.Append(testContext(t), one("u", "a title")); err == nil {
			t.Error("Append succeeded without the table of inboxes")
		}
		if lines = log.with("falcon_inboxes is missing"); len(lines) != 2 || !strings.Contains(lines[1], "calls=5") {
			t.Errorf("after the interval: %q", lines)
		}
		if leaked := log.with("a title"); len(leaked) > 0 {
			t.Errorf("the log repeats what was sent: %q", leaked)
		}
	})
}

func TestReadinessReadsRowsOfTheLog(t *testing.T) {
	for broken, want := range map[string]string{
		"ALTER TABLE falcon_notifications RENAME TO elsewhere": "falcon_notifications is missing",
		"ALTER TABLE falcon_meta RENAME TO elsewhere":          "falcon_meta is missing",
		"DELETE FROM falcon_meta WHERE key = 'epoch'":          "falcon_meta has no epoch",
	} {
		t.Run(want, func(t *testing.T) {
			each(t, func(t *testing.T, d *DB) {
				if err := d.Ping(testContext(t)); err != nil {
					t.Fatalf("an empty log: %v", err)
				}
				exec(t, d, broken)
				log, _ := listen(d)
				for range 3 {
					if err := d.Ping(testContext(t)); !errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), want) {
						t.Errorf("ping: %v, want %s", err, want)
					}
				}
				if lines := log.with(want); len(lines) != 1 {
					t.Errorf("logged: %q", lines)
				}
			})
		})
	}
}

func TestAnUnreachableDatabaseIsLoggedOncePerInterval(t *testing.T) {
	s := testserver.NewPostgres(t)
	d := openTest(t, Options{URL: s.URL})
	log, _ := listen(d)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := d.Ping(context.Background()); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("ping: %v", err)
		}
	}
	lines := log.with("connection refused")
	if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
		t.Errorf("logged: %q", lines)
	}
}

func TestACancelledCallIsNotLoggedAsAnOutage(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		log, _ := listen(d)
		ctx, cancel := context.WithCancel(testContext(t))
		cancel()
		if _, err := d.After(ctx, "u", 0, 1); err == nil {
			t.Error("After succeeded for a caller that had given up")
		}
		if lines := log.with("msg="); len(lines) > 0 {
			t.Errorf("logged: %q", lines)
		}
	})
}

func TestTheNumberOfRememberedCausesIsBounded(t *testing.T) {
	// The local port differs from connection to connection and must not count.
	a := &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 1}, Addr: &net.TCPAddr{Port: 9}, Err: io.ErrUnexpectedEOF}
	b := &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 2}, Addr: &net.TCPAddr{Port: 9}, Err: io.ErrUnexpectedEOF}
	if cause(a) != cause(b) {
		t.Errorf("the causes %q and %q differ", cause(a), cause(b))
	}
	o := newOutages(quiet)
	for i := range 10 * maxOutages {
		o.due(fmt.Sprint(i))
	}
	if len(o.seen) > maxOutages {
		t.Errorf("%d causes are remembered, want at most %d", len(o.seen), maxOutages)
	}
}
