package delivery_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// The order that ends an erased user's connections also makes operators who are subscribed to
// the user's topic start over. On real databases.
func TestAnOperatorGetsWhatIsSentAfterAnErasure(t *testing.T) {
	for name, url := range databases(t) {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, url)
			in := newInbox()
			c, _, err := e.hub.Connect(e.ctx, delivery.ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"},
				Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}}, in)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			send := func(want bridge.Seq) {
				t.Helper()
				if _, err := e.service.Notify(e.ctx, bridge.Draft{User: "8", Title: "t", Message: "m"}, nil); err != nil {
					t.Fatal(err)
				}
				var got []bridge.Seq
				testserver.Eventually(t, testTimeout, func() error {
					for _, m := range in.drain() {
						got = append(got, m.Seq)
						c.Ack(m.PacketID)
					}
					if !slices.Contains(got, want) {
						return fmt.Errorf("got %v, want %d", got, want)
					}
					return nil
				})
			}
			filter := bridge.Topics{}.Status("8")
			r := delivery.SubscribeRequest{Filter: filter, Subscription: bridge.Subscription{QoS: 1}}
			if err := c.Subscribe(e.ctx, []delivery.SubscribeRequest{r}, nil)[0]; err != nil {
				t.Fatal(err)
			}
			c.Activate(filter)
			for want := range bridge.Seq(3) {
				send(want + 1)
			}
			if _, err := e.service.Erase(e.ctx, "8"); err != nil {
				t.Fatal(err)
			}
			send(1)
			send(2)
		})
	}
}

// A node died after the first step of a long change. Any other node continues it.
func TestUpkeepFinishesWhatADeadNodeBegan(t *testing.T) {
	for name, url := range databases(t) {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, url)
			for range 3 {
				if _, err := e.service.Notify(e.ctx, bridge.Draft{User: "8", Title: "t", Message: "m"}, nil); err != nil {
					t.Fatal(err)
				}
			}
			begin(t, e.ctx, url, "INSERT INTO falcon_tasks (kind, user_id, up_to, begun_at) VALUES ('read', '8', 2, 0)")
			hub := delivery.NewHub(delivery.Options{Log: e.db, Sessions: e.db, Feed: e.db, Cluster: e.db, Pruner: e.db, Epoch: e.db.Epoch, Node: "other"})
			ctx, cancel := context.WithCancel(e.ctx)
			ended := make(chan error, 1)
			go func() { ended <- hub.Run(ctx) }()
			testserver.Eventually(t, testTimeout, func() error {
				if c, err := e.db.Count(e.ctx, "8"); err != nil || c.Unread != 1 {
					return fmt.Errorf("%d unread, %v", c.Unread, err)
				}
				return nil
			})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// begin runs a statement on the database at url, like another process.
func begin(t *testing.T, ctx context.Context, url, statement string) {
	t.Helper()
	driver, dsn := "pg", url
	if path, found := strings.CutPrefix(url, "sqlite:"); found {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	other, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
