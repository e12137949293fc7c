package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Four nodes register the same hundred devices at once, ten per call and each in a random
// order, and at the same time remove what they registered one round before. No call may
// fail. Of each device the highest generation stays listed, and every other connection has
// an order to end.
func TestConcurrentRegistrationsOfADeviceEndAllButTheNewest(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		const nodes, devices, rounds, step = 4, 100, 5, 10
		ctx := testContext(t)
		us := make([]bridge.UserID, devices)
		for i := range us {
			us[i] = fresh()
		}
		generation := func(round, node, device int) int64 {
			return int64(1 + round*nodes + (node+device)%nodes)
		}
		var wg sync.WaitGroup
		errs := make([]error, nodes)
		for w := range nodes {
			node := fmt.Sprint("race", w)
			must(t, d.Beat(ctx, node, bridge.Figures{}))
			wg.Go(func() {
				for r := range rounds {
					var opened, closed []bridge.Connection
					for _, i := range rand.Perm(devices) {
						opened = append(opened, conn(us[i], "phone", generation(r, w, i), node))
						if r > 0 {
							closed = append(closed, conn(us[i], "phone", generation(r-1, w, i), node))
						}
					}
					for i := 0; i < devices; i += step {
						errs[w] = errors.Join(errs[w], d.Register(ctx, node, opened[i:i+step], closed[min(i, len(closed)):min(i+step, len(closed))]))
					}
				}
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		orders := map[string][]bridge.Order{}
		for w := range nodes {
			polled, _, err := d.Poll(ctx, fmt.Sprint("race", w), time.Time{})
			must(t, err)
			orders[fmt.Sprint("race", w)] = polled
		}
		last := generation(rounds-1, 0, 0)/nodes*nodes + 1 + nodes - 1
		for i, u := range us {
			for w := range nodes {
				node, gen := fmt.Sprint("race", w), generation(rounds-1, w, i)
				if listed := connected(t, d, u) == fmt.Sprintf("[phone %d %s]", gen, node); listed != (gen == last) {
					t.Errorf("%s, generation %d of %d: listed %s", node, gen, last, connected(t, d, u))
				}
				ended := slices.ContainsFunc(orders[node], func(o bridge.Order) bool { return o.User == u && gen < o.Before })
				if ended != (gen < last) {
					t.Errorf("%s, generation %d of %d has an order: %v", node, gen, last, ended)
				}
			}
		}
	})
}

// A registration waits for a transaction of another node only if both have a device in
// common.
func TestARegistrationWaitsOnlyForItsDevices(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx, busy, free := testContext(t), fresh(), fresh()
	tx, err := d.log.BeginTx(ctx, nil)
	must(t, err)
	_, err = tx.ExecContext(ctx, "SELECT falcon_register('other', ARRAY[?], '{phone}', '{1}', '{5}', '{ws}', '{r}', '{t}', '{1}', '{}', '{}', '{}', 1)", string(busy))
	must(t, err)
	must(t, d.Register(ctx, "n1", conns(conn(free, "phone", 2, "n1")), nil))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := d.Register(short, "n1", conns(conn(busy, "phone", 3, "n1")), nil); err == nil {
		t.Error("a registration did not wait for the transaction that has its device")
	}
	must(t, tx.Commit())
	must(t, d.Register(ctx, "n1", conns(conn(busy, "phone", 3, "n1")), nil))
	if got := ordersFor(t, d, "other", time.Time{}, busy); len(got) != 1 || got[0].Before != 3 {
		t.Errorf("the other node gets %+v", got)
	}
}
