package db

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestCluster(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a node is listed while it beats":                             testBeat,
		"a node that leaves removes its connections":                  testLeave,
		"an order reaches every node":                                 testEnd,
		"an order without a generation ends all connections":          testEndAll,
		"an order for one node is removed once that node has it":      testDirectedOrders,
		"old orders are removed":                                      testOldOrders,
		"of two connections of a device the newer stays":              testTakeover,
		"a takeover is found whichever node registers first":          testTakeoverRace,
		"Register applies what was opened and closed":                 testOpenedClosed,
		"a node registers more connections than fit in one statement": testManyConnections,
		"connections are listed in pages":                             testConnections,
		"connections are sorted and filtered":                         testSortedConnections,
		"sessions are listed with absent devices and their lag":       testAbsentDevices,
		"connections of a dead node are not listed":                   testDeadNode,
	})
}

func conn(u bridge.UserID, client string, gen int64, node string) bridge.Connection {
	return bridge.Connection{Device: dev(u, client), Generation: gen, Node: node, Protocol: 5, Transport: "wss",
		Remote: "[::1]:1234", Persistent: true, Since: time.UnixMilli(1764000000123).UTC()}
}

func conns(cs ...bridge.Connection) []bridge.Connection { return cs }

// ordersFor polls as node and returns the orders about u.
func ordersFor(t testing.TB, d *DB, node string, since time.Time, u bridge.UserID) []bridge.Order {
	t.Helper()
	orders, now, err := d.Poll(testContext(t), node, since)
	must(t, err)
	if now.IsZero() {
		t.Error("the database's time is missing")
	}
	return slices.DeleteFunc(orders, func(o bridge.Order) bool { return o.User != u })
}

func connected(t testing.TB, d *DB, u bridge.UserID) string {
	t.Helper()
	page, _, err := d.Connections(testContext(t), bridge.ConnectionQuery{User: u, Limit: 50})
	must(t, err)
	out := []string{}
	for _, c := range page {
		out = append(out, fmt.Sprintf("%s %d %s", c.Device.ClientID, c.Generation, c.Node))
	}
	return fmt.Sprint(out)
}

func testBeat(t *testing.T, d *DB) {
	ctx, name := testContext(t), string(fresh())
	figures := bridge.Figures{Connections: 3, Sent: 5, Copies: 1, InFlight: 2, Acked: 4, Reads: 2, Oversize: 1}
	find := func() (bridge.NodeInfo, bool) {
		nodes, err := d.Nodes(ctx)
		must(t, err)
		i := slices.IndexFunc(nodes, func(n bridge.NodeInfo) bool { return n.Node == name })
		if i < 0 {
			return bridge.NodeInfo{}, false
		}
		return nodes[i], true
	}
	must(t, d.Beat(ctx, name, bridge.Figures{}))
	first, _ := find()
	must(t, d.Beat(ctx, name, figures))
	n, ok := find()
	figures.Connections = 0 // counted from the registered connections, not taken from the beat
	if !ok || n.Figures != figures || !n.StartedAt.Equal(first.StartedAt) || n.BeatAt.Before(first.BeatAt) {
		t.Errorf("after two beats: %+v, %v; after one: %+v", n, ok, first)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - ? WHERE id = ?", bridge.NodeTimeout.Milliseconds(), name)
	if _, ok := find(); ok {
		t.Error("a silent node is listed")
	}
	must(t, d.Beat(ctx, name, figures))
	if _, ok := find(); !ok {
		t.Error("a node that beats again is not listed")
	}
}

func testLeave(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	node := string(u)
	must(t, d.Beat(ctx, node, bridge.Figures{}))
	must(t, d.Register(ctx, node, conns(conn(u, "a", 1, node)), nil))
	openAs(t, d, bridge.OpenSession{Device: dev(u, "a"), Node: node, Expiry: time.Hour})
	exec(t, d, "UPDATE falcon_sessions SET used_at = 1 WHERE user_id = ?", u) // connected for a long time
	must(t, d.Leave(ctx, node))
	if got := connected(t, d, u); got != "[]" {
		t.Errorf("listed %s", got)
	}
	if n := number(t, d, "SELECT (SELECT count(*) FROM falcon_nodes WHERE id = ?) + (SELECT count(*) FROM falcon_connections WHERE node = ?)", node, node); n != 0 {
		t.Errorf("%d rows left", n)
	}
	if s := open(t, d, dev(u, "a")); !s.Present {
		t.Error("a session that was open when its node left is gone")
	}
}

func testEnd(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	want := bridge.Order{User: u, ClientID: "phone", Before: 5, Reason: bridge.EndAdmin}
	_, now, err := d.Poll(ctx, "n1", time.Time{})
	must(t, err)
	must(t, d.End(ctx, want))
	for _, node := range []string{"n1", "n2", "n1"} {
		if got := ordersFor(t, d, node, now, u); len(got) != 1 || got[0] != want {
			t.Errorf("node %s gets %+v", node, got)
		}
	}
	if got := ordersFor(t, d, "n1", time.Now().Add(2*orderOverlap), u); len(got) != 0 {
		t.Errorf("orders older than the overlap are returned: %+v", got)
	}
}

func testEndAll(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	before := open(t, d, dev(u, "phone"))
	must(t, d.End(ctx, bridge.Order{User: u, Reason: bridge.EndErased}))
	after := open(t, d, dev(u, "phone"))
	got := ordersFor(t, d, "n1", time.Time{}, u)
	if len(got) != 1 || got[0].ClientID != "" || got[0].Reason != bridge.EndErased || got[0].Before <= before.Generation || got[0].Before > after.Generation {
		t.Errorf("orders %+v, want one with a bound between generations %d and %d", got, before.Generation, after.Generation)
	}
}

func testDirectedOrders(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	for gen, node := range []string{"", "d1", "d2"} {
		if gen > 0 {
			must(t, d.Register(ctx, node, conns(conn(u, "phone", int64(gen), node)), nil))
		}
	}
	if got := ordersFor(t, d, "d2", time.Time{}, u); len(got) != 0 {
		t.Errorf("the newer node gets %+v", got)
	}
	want := bridge.Order{User: u, ClientID: "phone", Before: 2, Reason: bridge.EndTakenOver}
	_, now, err := d.Poll(ctx, "d1", time.Time{})
	must(t, err)
	for range 2 { // an order whose response was lost is returned again
		if got := ordersFor(t, d, "d1", now, u); len(got) != 1 || got[0] != want {
			t.Errorf("the older node gets %+v", got)
		}
	}
	ordersFor(t, d, "d1", now.Add(orderSeen+time.Second), u)
	if got := ordersFor(t, d, "d1", now, u); len(got) != 0 {
		t.Errorf("orders after the node has seen them: %+v", got)
	}
}

func testOldOrders(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	for i := range 3 {
		must(t, d.End(ctx, bridge.Order{User: u, ClientID: fmt.Sprint(i), Before: 1}))
	}
	exec(t, d, "UPDATE falcon_orders SET at = at - ? WHERE user_id = ? AND client_id <> '2'", orderLife.Milliseconds()+1, u)
	must(t, d.Beat(ctx, "n1", bridge.Figures{}))
	if n := number(t, d, "SELECT count(*) FROM falcon_orders WHERE user_id = ?", u); n != 1 {
		t.Errorf("%d orders left", n)
	}
}

func testTakeover(t *testing.T, d *DB) {
	ctx := testContext(t)
	must(t, d.Beat(ctx, "t1", bridge.Figures{}))
	must(t, d.Beat(ctx, "t2", bridge.Figures{}))
	for name, tt := range map[string]struct {
		first, then bridge.Connection
		stays       string
		orders      string // the node, and the generation below which it ends the connection
	}{
		"the newer comes later":    {conn("", "c", 5, "t1"), conn("", "c", 7, "t2"), "[c 7 t2]", "t1 <7"},
		"the newer came first":     {conn("", "c", 7, "t1"), conn("", "c", 5, "t2"), "[c 7 t1]", "t2 <7"},
		"on the same node":         {conn("", "c", 5, "t1"), conn("", "c", 7, "t1"), "[c 7 t1]", "t1 <7"},
		"the same one, sent twice": {conn("", "c", 5, "t1"), conn("", "c", 5, "t1"), "[c 5 t1]", ""},
	} {
		u := fresh()
		tt.first.Device.User, tt.then.Device.User = u, u
		must(t, d.Register(ctx, tt.first.Node, conns(tt.first), nil))
		must(t, d.Register(ctx, tt.then.Node, conns(tt.then), nil))
		if got := connected(t, d, u); got != tt.stays {
			t.Errorf("%s: listed %s, want %s", name, got, tt.stays)
		}
		got := ""
		for _, node := range []string{"t1", "t2"} {
			for _, o := range ordersFor(t, d, node, time.Time{}, u) {
				got += fmt.Sprintf("%s <%d", node, o.Before)
			}
		}
		if got != tt.orders {
			t.Errorf("%s: orders %q, want %q", name, got, tt.orders)
		}
	}
}

// testTakeoverRace registers the same devices on several nodes at once. Only the highest
// generation of each device stays listed; every other connection has an order to end.
func testTakeoverRace(t *testing.T, d *DB) {
	ctx := testContext(t)
	us := []bridge.UserID{fresh(), fresh(), fresh(), fresh(), fresh()}
	const nodes = 4
	var wg sync.WaitGroup
	errs := make([]error, nodes)
	for w := range errs {
		node := fmt.Sprint("race", w)
		must(t, d.Beat(ctx, node, bridge.Figures{}))
		wg.Go(func() {
			var opened []bridge.Connection
			for i, u := range us {
				opened = append(opened, conn(u, "phone", int64(10+(w+i)%nodes), node))
			}
			if w%2 == 1 {
				slices.Reverse(opened)
			}
			errs[w] = d.Register(ctx, node, opened, conns(conn("x", "unknown", 1, node)))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	for i, u := range us {
		if got, want := connected(t, d, u), fmt.Sprintf("[phone %d race%d]", 10+nodes-1, (nodes-1-i%nodes+nodes)%nodes); got != want {
			t.Errorf("listed %s, want %s", got, want)
		}
		for w := range nodes {
			gen := int64(10 + (w+i)%nodes)
			ended := slices.ContainsFunc(ordersFor(t, d, fmt.Sprint("race", w), time.Time{}, u), func(o bridge.Order) bool { return gen < o.Before })
			if ended != (gen < 10+nodes-1) {
				t.Errorf("the connection of generation %d has an order to end: %v", gen, ended)
			}
		}
	}
}

func testOpenedClosed(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "o1", bridge.Figures{}))
	step := func(opened, closed []bridge.Connection, want string) {
		t.Helper()
		must(t, d.Register(ctx, "o1", opened, closed))
		if got := connected(t, d, u); got != want {
			t.Errorf("listed %s, want %s", got, want)
		}
	}
	step(conns(conn(u, "a", 1, "o1"), conn(u, "b", 2, "o1")), nil, "[a 1 o1 b 2 o1]")
	step(conns(conn(u, "a", 3, "o1")), conns(conn(u, "a", 1, "o1")), "[a 3 o1 b 2 o1]") // a reconnected
	if got := ordersFor(t, d, "o1", time.Time{}, u); len(got) != 0 {
		t.Errorf("a connection that is closed has an order to end: %+v", got)
	}
	step(nil, conns(conn(u, "a", 1, "o1")), "[a 3 o1 b 2 o1]")                          // the same close again
	step(conns(conn(u, "c", 4, "o1")), conns(conn(u, "b", 2, "o1")), "[a 3 o1 c 4 o1]") // another one closed
	step(nil, conns(conn(u, "c", 4, "o1")), "[a 3 o1]")
	step(conns(conn(u, "d", 6, "o1"), conn(u, "d", 5, "o1")), nil, "[a 3 o1 d 6 o1]") // the same device twice in one call
	step(nil, nil, "[a 3 o1 d 6 o1]")
}

func testManyConnections(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "m1", bridge.Figures{}))
	var opened []bridge.Connection
	for i := range 1010 {
		opened = append(opened, conn(u, fmt.Sprint("c", i), int64(i+1), "m1"))
	}
	count := "SELECT count(*) FROM falcon_connections WHERE user_id = ?"
	testserver.Eventually(t, 20*time.Second, func() error { return d.Register(ctx, "m1", opened, nil) })
	testserver.Eventually(t, 20*time.Second, func() error { return d.Register(ctx, "m1", nil, opened[:5]) })
	if n := number(t, d, count, u); n != 1005 {
		t.Errorf("%d connections after opening, want %d", n, 1005)
	}
	testserver.Eventually(t, 20*time.Second, func() error { return d.Register(ctx, "m1", nil, opened) })
	if n := number(t, d, count, u); n != 0 {
		t.Errorf("%d connections after closing", n)
	}
}

func testConnections(t *testing.T, d *DB) {
	u, other, ctx := fresh(), fresh(), testContext(t)
	must(t, d.Beat(ctx, "p1", bridge.Figures{}))
	want := conn(u, "a", 1, "p1")
	var opened []bridge.Connection
	for i, client := range []string{"a", "b", "c", "d"} {
		opened = append(opened, conn(u, client, int64(1+i), "p1"), conn(other, client, int64(10+i), "p1"))
	}
	must(t, d.Register(ctx, "p1", opened, nil))
	page, next, err := d.Connections(ctx, bridge.ConnectionQuery{User: u, Limit: 2})
	if err != nil || next == nil || len(page) != 2 || page[0] != want || page[1].Device.ClientID != "b" {
		t.Fatalf("%+v, next %v, %v", page, next, err)
	}
	page, next, err = d.Connections(ctx, bridge.ConnectionQuery{User: u, After: next, Limit: 2})
	if err != nil || next != nil || len(page) != 2 || page[0].Device.ClientID != "c" {
		t.Errorf("the next page %+v, next %v, %v", page, next, err)
	}
	seen := map[bridge.UserID]int{}
	var last bridge.Device
	for q := (bridge.ConnectionQuery{Limit: 3}); ; {
		page, next, err = d.Connections(ctx, q)
		must(t, err)
		for _, c := range page {
			if string(c.Device.User)+" "+c.Device.ClientID <= string(last.User)+" "+last.ClientID {
				t.Errorf("%v is listed after %v", c.Device, last)
			}
			last = c.Device
			seen[c.Device.User]++
		}
		if q.After = next; next == nil {
			break
		}
	}
	if seen[u] != 4 || seen[other] != 4 {
		t.Errorf("the connections of all users: %v per user, want 4", seen)
	}
}

// pages reads every page of q and returns the client IDs in order.
func pages(t *testing.T, d *DB, q bridge.ConnectionQuery) string {
	t.Helper()
	out := []string{}
	for {
		page, next, err := d.Connections(testContext(t), q)
		must(t, err)
		for _, c := range page {
			out = append(out, c.Device.ClientID)
		}
		if q.After = next; next == nil {
			return fmt.Sprint(out)
		}
	}
}

func testSortedConnections(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "q1", bridge.Figures{}))
	must(t, d.Beat(ctx, "q2", bridge.Figures{}))
	var opened []bridge.Connection
	for i, client := range []string{"a", "b%", "B_", "d!"} {
		c := conn(u, client, int64(1+i), "q1")
		c.Since = c.Since.Add(-time.Duration(i/2) * time.Hour)
		if i%2 == 0 {
			c.Protocol, c.Transport = 4, "tcp"
		}
		opened = append(opened, c)
	}
	must(t, d.Register(ctx, "q1", opened, nil))
	must(t, d.Register(ctx, "q2", conns(conn(u, "e", 9, "q2")), nil))
	for name, tt := range map[string]struct {
		q    bridge.ConnectionQuery
		want string
	}{
		"by client":         {bridge.ConnectionQuery{}, "[B_ a b% d! e]"},
		"reversed":          {bridge.ConnectionQuery{Reverse: true}, "[e d! b% a B_]"},
		"oldest first":      {bridge.ConnectionQuery{BySince: true}, "[B_ d! a b% e]"},
		"newest first":      {bridge.ConnectionQuery{BySince: true, Reverse: true}, "[e b% a d! B_]"},
		"on a node":         {bridge.ConnectionQuery{Node: "q2"}, "[e]"},
		"with a transport":  {bridge.ConnectionQuery{Transport: "tcp"}, "[B_ a]"},
		"with a protocol":   {bridge.ConnectionQuery{Protocol: 5}, "[b% d! e]"},
		"containing":        {bridge.ConnectionQuery{Match: "b"}, "[B_ b%]"},
		"a wildcard of SQL": {bridge.ConnectionQuery{Match: "%"}, "[b%]"},
		"an escape":         {bridge.ConnectionQuery{Match: "!"}, "[d!]"},
		"two, newest first": {bridge.ConnectionQuery{Protocol: 5, Node: "q1", BySince: true, Reverse: true}, "[b% d!]"},
		"nothing":           {bridge.ConnectionQuery{Match: "nothing"}, "[]"},
	} {
		tt.q.User = u
		for _, page := range []struct{ limit, scanned int }{{1, scanRows}, {2, scanRows}, {50, scanRows}, {50, 2}, {2, 2}} {
			tt.q.Limit, d.scanRows = page.limit, page.scanned
			if got := pages(t, d, tt.q); got != tt.want {
				t.Errorf("%s, %+v: %s, want %s", name, page, got, tt.want)
			}
		}
	}
	d.scanRows = scanRows
}

func testAbsentDevices(t *testing.T, d *DB) {
	u, node, ctx := fresh(), string(fresh()), testContext(t)
	must(t, d.Beat(ctx, node, bridge.Figures{}))
	here := openAs(t, d, bridge.OpenSession{Device: dev(u, "here"), Node: node, Expiry: time.Hour})
	gone := openAs(t, d, bridge.OpenSession{Device: dev(u, "gone"), Node: node, Expiry: time.Hour})
	openAs(t, d, bridge.OpenSession{Device: dev(u, "unsubscribed"), Node: node, Expiry: time.Hour})
	for client, gen := range map[string]int64{"here": here.Generation, "gone": gone.Generation} {
		_, _, err := d.Subscribe(ctx, dev(u, client), gen, bridge.Subscription{QoS: 1}, nil)
		must(t, err)
	}
	for range 3 {
		mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{draft(u, "t")}})
	}
	must(t, d.Advance(ctx, []bridge.Advance{
		{Device: dev(u, "here"), Generation: here.Generation, Acked: 3, Sent: 3},
		{Device: dev(u, "gone"), Generation: gone.Generation, Acked: 1, Sent: 1, Closed: true, Expiry: time.Hour},
	}))
	for name, tt := range map[string]struct {
		q    bridge.SessionQuery
		want string
	}{
		"all":        {bridge.SessionQuery{}, "[gone absent 2 here connected 0 unsubscribed connected -1]"},
		"absent":     {bridge.SessionQuery{Absent: true}, "[gone absent 2]"},
		"behind":     {bridge.SessionQuery{Behind: true}, "[gone absent 2]"},
		"containing": {bridge.SessionQuery{Match: "HERE"}, "[here connected 0]"},
		"and behind": {bridge.SessionQuery{Match: "here", Behind: true}, "[]"},
	} {
		for _, tt.q.Limit = range []int{1, 2, 50} {
			out := []string{}
			for tt.q.User, tt.q.After = u, (bridge.Device{}); ; {
				page, next, err := d.Sessions(ctx, tt.q)
				must(t, err)
				for _, s := range page {
					state := "connected"
					if s.Node == "" {
						state = "absent"
					}
					if s.LastSeen.IsZero() || s.Expires.IsZero() != (s.Node != "") {
						t.Errorf("%s: seen %s, expires %s", s.Device, s.LastSeen, s.Expires)
					}
					out = append(out, fmt.Sprintf("%s %s %d", s.Device.ClientID, state, s.Lag))
				}
				if next == nil {
					break
				}
				tt.q.After = *next
			}
			if got := fmt.Sprint(out); got != tt.want {
				t.Errorf("%s, %d per page: %s, want %s", name, tt.q.Limit, got, tt.want)
			}
		}
	}
}

func testDeadNode(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "dead", bridge.Figures{}))
	must(t, d.Register(ctx, "dead", conns(conn(u, "a", 1, "dead")), nil))
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - ? WHERE id = 'dead'", bridge.NodeTimeout.Milliseconds())
	if got := connected(t, d, u); got != "[]" {
		t.Errorf("listed %s", got)
	}
	must(t, d.Beat(ctx, "dead", bridge.Figures{})) // it was cut off from the database and is back
	if got := connected(t, d, u); got != "[a 1 dead]" {
		t.Errorf("listed %s", got)
	}
}
