package examples

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
)

// Two servers run in this process at the same time, each with its own settings, as an
// integration test of an application in Go would start one.
func TestTheServerCanBeEmbedded(t *testing.T) {
	first, second := embed(t), embed(t)
	if got := first.call(t, http.MethodPost, "/notifications", `{"created_by":7,"title":"T","message":"M"}`); got != http.StatusCreated {
		t.Errorf("the first server returns %d", got)
	}
	for name, tt := range map[string]struct {
		s    *embedded
		want int
	}{"of the first server": {first, http.StatusOK}, "of the second server": {second, http.StatusNotFound}} {
		if got := tt.s.call(t, http.MethodGet, "/notifications/1/deliveries", ""); got != tt.want {
			t.Errorf("the notification %s: %d, want %d", name, got, tt.want)
		}
	}
}

// embedded is a server in this process.
type embedded struct {
	app *app.App
	c   *config.Config
}

// embed starts a server in development mode on free ports, which drains at the end of the
// test.
func embed(t *testing.T) *embedded {
	t.Helper()
	c, problems := config.Read(map[string]string{
		"http-addr": "127.0.0.1:0", "mqtt-addr": "127.0.0.1:0", "admin-addr": "127.0.0.1:0", "data-dir": t.TempDir(), "drain-time": "0s",
	}, nil).Check(config.All())
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var log bytes.Buffer
	a, err := app.New(ctx, app.Options{Config: c, Version: "test", Out: io.Discard, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
	return &embedded{a, c}
}

// call makes a request as an operator and returns the status.
func (e *embedded) call(t *testing.T, method, path, body string) int {
	t.Helper()
	signer, err := e.c.Keys.Signer(e.c.DataDir, e.c.Topics, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	bearer, err := signer.Sign(bridge.Claims{User: "ops", Scope: bridge.ScopeAdmin | bridge.ScopeWrite, ExpiresAt: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.app.Addr("http-addr").String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
