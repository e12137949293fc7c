package db

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// BenchmarkAppend is one notification of 300 bytes a call, by 1, 32 and 128
// callers at once, to 1,000 users.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 32, 128} {
		for _, name := range []string{"SQLite", "Postgres"} {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				url := filepath.Join(b.TempDir(), "falcon.db")
				if name == "Postgres" {
					url = testserver.Postgres(b)
				}
				d := openTest(b, Options{URL: url, Node: "n"})
				message := strings.Repeat("m", 250)
				var n atomic.Int64
				append1 := func() error {
					u := bridge.UserID(fmt.Sprint(n.Add(1) * 7919 % 1000))
					_, err := d.Append(context.Background(), bridge.Command{Drafts: []bridge.Draft{
						{User: u, Kind: bridge.KindMessage, Title: "El estado de su reporte ha cambiado", Message: message}}})
					return err
				}
				var all []bridge.Draft
				for u := range 1000 {
					all = append(all, draft(bridge.UserID(fmt.Sprint(u)), "t"))
				}
				mustAppend(b, d, bridge.Command{Drafts: all}) // everybody has an inbox
				for range 100 {                               // warm the plans
					if err := append1(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				done := make(chan error, callers)
				for c := range callers {
					go func() {
						for range (b.N + c) / callers {
							if err := append1(); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range callers {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}
