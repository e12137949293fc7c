package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/edge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestSocketsBeyondTheLimitAreClosedUntilOthersEnd(t *testing.T) {
	loopback, err := edge.ParseProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		c     ConnectionLimits
		taken int // of five
	}{
		"of one address":           {ConnectionLimits{PerAddress: 3}, 3},
		"in all":                   {ConnectionLimits{Max: 2}, 2},
		"of a trusted proxy":       {ConnectionLimits{PerAddress: 3, Trusted: loopback}, 5},
		"of a trusted one, in all": {ConnectionLimits{Max: 4, PerAddress: 3, Trusted: loopback}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var refused atomic.Int64
			tt.c.Limited = func(string) { refused.Add(1) }
			s := Server(bare(t).handler, Timeouts{}, nil)
			tt.c.Apply(s)
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := <-done; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			dial := func() net.Conn {
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = nc.Close() })
				return nc
			}
			answered := func(nc net.Conn) bool {
				_, _ = io.WriteString(nc, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
				_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
				_, err := nc.Read(make([]byte, 1))
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("neither a response nor a close")
				}
				return err == nil
			}
			var silent []net.Conn
			for i := range 5 {
				nc := dial()
				if got, want := answered(nc), i < tt.taken; got != want {
					t.Fatalf("connection %d got a response: %v", i, got)
				}
				silent = append(silent, nc)
			}
			if n := refused.Load(); n != int64(5-tt.taken) {
				t.Errorf("%d refusals are reported", n)
			}
			_ = silent[0].Close()
			testserver.Eventually(t, 10*time.Second, func() error {
				if !answered(dial()) {
					return fmt.Errorf("the place is not free again")
				}
				return nil
			})
		})
	}
}
