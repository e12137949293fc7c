package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// Bodies within the size limits that cost a careless parser far more than their
// size: each is refused, quickly, and for little memory.
func TestJSONBombs(t *testing.T) {
	e := newHarness(t, sqlite(t))
	service := tokenFor(t, "s", "notifications:write", "reports:write")
	n := MaxBody - 100
	for name, tt := range map[string]struct {
		at, body string
		status   int
	}{
		"arrays in arrays":            {"POST /notifications", strings.Repeat("[", n), 400},
		"objects in objects":          {"POST /notifications", strings.Repeat(`{"a":`, n/5), 400},
		"closed, too":                 {"POST /notifications", `{"data":` + strings.Repeat("[", n/2) + strings.Repeat("]", n/2-20) + "}", 400},
		"in a batch of the full size": {"POST /notifications/batch", `{"notifications":` + strings.Repeat("[", MaxBatchBody-100), 400},
		"deep in data":                {"POST /notifications", `{"title":"t","message":"m","created_by":1,"data":` + strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33) + "}", 400},
		"many names":                  {"POST /notifications", members(n/14, "%08d"), 422},
		"one name many times":         {"POST /notifications", "{" + strings.Repeat(`"same":0,`, n/9) + `"same":0}`, 400},
		"many names in data":          {"POST /notifications", `{"title":"t","message":"m","created_by":1,"data":` + members(n/14, "%08d") + "}", 422},
		"a number of many digits":     {"POST /notifications", `{"title":"t","message":"m","created_by":` + strings.Repeat("9", n) + "}", 422},
		"a huge exponent":             {"POST /notifications", `{"title":"t","message":"m","created_by":1e999999999}`, 422},
		"a fraction of many digits":   {"POST /notifications", `{"title":"t","message":"m","created_by":0.` + strings.Repeat("0", n) + "1}", 422},
		"a title of escapes":          {"POST /notifications", `{"title":"` + strings.Repeat(`\u0041`, n/6-20) + `","message":"m","created_by":1}`, 422},
		"unpaired surrogates":         {"POST /notifications", `{"title":"` + strings.Repeat(`\ud800`, n/6-20) + `","message":"m","created_by":1}`, 400},
		"a batch of a million zeros":  {"POST /notifications/batch", `{"notifications":[` + strings.Repeat("0,", MaxBatchBody/2-50) + "0]}", 422},
		"a batch of empty objects":    {"POST /notifications/batch", `{"notifications":[` + strings.Repeat("{},", MaxBatchBody/3-50) + "{}]}", 422},
		"a report of blanks":          {"POST /reports", `{"title":` + strings.Repeat(" ", n) + `1}`, 422},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := processorTime(t)
		a := e.call(tt.at, service, tt.body)
		took := processorTime(t) - begun
		runtime.ReadMemStats(&after)
		if a.Code != tt.status {
			t.Errorf("%s: status %d, want %d: %.200s", name, a.Code, tt.status, a.Body)
		}
		if took > 2*time.Second {
			t.Errorf("%s: took %v of a processor", name, took)
		}
		// Of the ten, two are the buffer: it doubles as bytes arrive.
		if cost := after.TotalAlloc - before.TotalAlloc; cost > uint64(10*len(tt.body)+1<<20) {
			t.Errorf("%s: %d bytes for a body of %d", name, cost, len(tt.body))
		}
		if a.Body.Len() > 32<<10 {
			t.Errorf("%s: the response has %d bytes", name, a.Body.Len())
		}
	}
	e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":0,"unread":0,"last_seq":0}`)
}

// processorTime returns the CPU time of this process. Unlike the clock it does not
// include other processes.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// members returns an object of n members, whose names contain their number.
func members(n int, name string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"`+name+`":0`, i)
	}
	b.WriteByte('}')
	return b.String()
}

// A panic's value may contain parts of the request. Neither the log nor the response repeats it.
func TestAPanicRevealsNothingOfTheRequest(t *testing.T) {
	for name, value := range map[string]any{
		"a text":   "geheim-title",
		"an error": errors.New("geheim-message"),
		"a struct": bridge.Notification{Title: "geheim-title", Message: "geheim-message"},
	} {
		var log bytes.Buffer
		e := bare(t, func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			o.Service = bridge.NewService(bridge.ServiceOptions{Log: panicking{value: value}, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}})
		})
		a := e.call("POST /notifications", tokenFor(t, "service", "notifications:write"), `{"title":"geheim","message":"geheim","created_by":"geheim"}`)
		a.problem(http.StatusInternalServerError)
		if !strings.Contains(log.String(), "a handler panicked") {
			t.Errorf("%s: nothing is logged", name)
		}
		if all := log.String() + a.Body.String(); strings.Contains(all, "geheim") {
			t.Errorf("%s: leaked by:\n%s", name, all)
		}
	}
}

// panicking is a log that panics with value.
type panicking struct {
	value any
}

func (p panicking) Append(context.Context, bridge.Command) (bridge.Result, error) { panic(p.value) }
