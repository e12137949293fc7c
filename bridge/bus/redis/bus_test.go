package redis_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func join(t testing.TB, o redis.Options) *redis.Bus {
	t.Helper()
	o.Probe = cmp.Or(o.Probe, 250*time.Millisecond)
	b, err := redis.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func client(t testing.TB, addr string) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

func contract(t *testing.T, server *testserver.Server, plain bool) {
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		p := bustest.NewProxy(t, server.Addr)
		c := client(t, server.Addr)
		return bustest.Fixture{
			Join: func(node string) bridge.Bus {
				return join(t, redis.Options{URL: "redis://" + p.Addr + "/0", Node: node, Plain: plain})
			},
			Garbage: func(junk string) {
				for _, channel := range []string{"falcon:0:user:7", "falcon:0:all"} {
					if err := c.Publish(t.Context(), channel, junk).Err(); err != nil {
						t.Error(err)
					}
					if err := c.SPublish(t.Context(), channel, junk).Err(); err != nil && !strings.Contains(err.Error(), "unknown command") {
						t.Error(err)
					}
				}
			},
			Server: server,
			Proxy:  p,
		}
	})
}

func TestContractSharded(t *testing.T) { contract(t, testserver.NewRedis(t), false) }

func TestContractPlain(t *testing.T) { contract(t, testserver.NewRedis(t), true) }

// An older server lacks the commands for sharding.
func TestContractOnAServerWithoutSharding(t *testing.T) {
	contract(t, testserver.NewRedis(t, "--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", ""), false)
}

// channelCounts returns how many channels of each kind the server knows.
func channelCounts(t *testing.T, c *goredis.Client) (plain, sharded int) {
	t.Helper()
	p, err := c.PubSubChannels(t.Context(), "falcon:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.PubSubShardChannels(t.Context(), "falcon:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return len(p), len(s)
}

func TestShardedIsUsedIfTheServerSupportsIt(t *testing.T) {
	// By default the cluster port is the first one plus 10,000, which may be in use.
	cluster := testserver.NewRedis(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(testserver.FreePort(t)))
	if err := client(t, cluster.Addr).ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		server  *testserver.Server
		plain   bool
		sharded bool
	}{
		"Redis 7":                           {testserver.NewRedis(t), false, true},
		"Redis 7, with sharding turned off": {testserver.NewRedis(t), true, false},
		"a cluster":                         {cluster, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			one := bustest.Listen(t, join(t, redis.Options{URL: tt.server.URL, Node: "a", Plain: tt.plain}), "7")
			other := bustest.Listen(t, join(t, redis.Options{URL: tt.server.URL, Node: "b", Plain: tt.plain}), "7")
			one.Receives(t, other, bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 3})
			plain, sharded := channelCounts(t, client(t, tt.server.Addr))
			if (sharded == 2) != tt.sharded || (plain == 2) == tt.sharded {
				t.Errorf("there are %d plain and %d sharded channels", plain, sharded)
			}
		})
	}
}

func TestDatabasesAreSeparate(t *testing.T) {
	server := testserver.NewRedis(t, "--requirepass", "geheim")
	url := func(db int) string { return fmt.Sprintf("redis://:geheim@%s/%d", server.Addr, db) }
	a := bustest.Listen(t, join(t, redis.Options{URL: url(0), Node: "a"}), "7")
	b := bustest.Listen(t, join(t, redis.Options{URL: url(0), Node: "b"}), "7")
	c := bustest.Listen(t, join(t, redis.Options{URL: url(3), Node: "c"}), "7")
	h := bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "x", Gen: 1}
	b.Receives(t, a, h)
	if c.HasReceived(h) {
		t.Error("a node of database 3 receives a hint published in database 0")
	}
}

// A node with a subscriber to all users' topics is woken by any append, even if it does not watch
// the user.
func TestAppendsOfUnwatchedUsersAreAnnouncedToAllNodes(t *testing.T) {
	server := testserver.NewRedis(t)
	a := bustest.Listen(t, join(t, redis.Options{URL: server.URL, Node: "a"}))
	b := bustest.Listen(t, join(t, redis.Options{URL: server.URL, Node: "b"}))
	for i := range 1000 {
		a.Publish(bridge.Hint{Type: bridge.HintAppended, User: bridge.UserID(fmt.Sprint(i)), Seq: 1})
	}
	b.Receives(t, a, bridge.Hint{Type: bridge.HintAppended})
	if n := b.Count(); n > 100 {
		t.Errorf("1000 appends for users of other nodes caused %d hints", n)
	}
}

func TestStats(t *testing.T) {
	server := testserver.NewRedis(t)
	a, b := join(t, redis.Options{URL: server.URL, Node: "a", Queue: 10}), join(t, redis.Options{URL: server.URL, Node: "b"})
	for range 25 {
		a.Publish(bridge.Hint{User: "7"})
	}
	if s := a.Stats(); s.Dropped != 15 {
		t.Errorf("stats are %+v, want 15 dropped", s)
	}
	an, bn := bustest.Listen(t, a, "7"), bustest.Listen(t, b, "7")
	bn.Receives(t, an, bridge.Hint{Type: bridge.HintMuted, User: "7"})
	if s := a.Stats(); s.Sent == 0 || s.Reconnects != 0 {
		t.Errorf("stats of the sender are %+v", s)
	}
	if s := b.Stats(); s.Received == 0 {
		t.Errorf("stats of the receiver are %+v", s)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 20*time.Second, func() error {
		if s := b.Stats(); s.Reconnects != 1 {
			return fmt.Errorf("stats are %+v, want a reconnect", s)
		}
		return nil
	})
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]redis.Options{
		"no node":           {URL: "redis://127.0.0.1:6379/0"},
		"no URL":            {Node: "a"},
		"another scheme":    {Node: "a", URL: "http://:geheim@127.0.0.1/"},
		"a database's name": {Node: "a", URL: "redis://:geheim@127.0.0.1/cache"},
		"an unknown option": {Node: "a", URL: "redis://:geheim@127.0.0.1/0?x=geheim"},
		"an invalid URL":    {Node: "a", URL: "redis://:geheim@%zz"},
	} {
		_, err := redis.New(o)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error contains the password: %v", name, err)
		}
	}
}
