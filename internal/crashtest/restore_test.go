package crashtest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// drill is a restore of docs/backup.md under load: two nodes, and for each user two
// devices that are connected all the time and two that leave before the backup and come
// back after the restore.
type drill struct {
	*fleet
	t     *testing.T
	pg    *testserver.PostgresServer
	url   string // of the nodes, whose role is no superuser
	users []bridge.UserID

	all      []*device
	heard    map[bridge.UserID]*texts
	absent   atomic.Bool
	answered *messages
	stop     func()
	epoch    string                     // before the restore
	safe     map[bridge.UserID][]string // answered before the moment that is restored
	lost     map[bridge.UserID]string   // answered after it
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	pg := testserver.NewPostgres(t)
	d := &drill{t: t, pg: pg, url: strings.Replace(pg.URL, "//falcon@", "//bridge@", 1), users: users(3)}
	d.shell(`mkdir "$BACKUPS"; psql --command='CREATE ROLE bridge LOGIN' --command='ALTER DATABASE falcon OWNER TO bridge'`)
	return d
}

// begin starts the nodes, the devices and the posts, and has half of the devices leave.
func (d *drill) begin() {
	d.t.Helper()
	d.fleet = newFleet(d.t, 2, on(d.url))
	stay := d.devices(d.users, nil)
	leave := d.devices(d.users, func() (net.Conn, error) {
		if d.absent.Load() {
			return nil, errors.New("no network")
		}
		return d.dial()
	})
	d.all = slices.Concat(stay, leave)
	d.heard = listen(d.all)
	d.epoch = d.fleet.epoch()
	d.answered, d.stop = d.unique(d.users)
	d.t.Cleanup(d.stop)
	d.answered.grow(d.t, 60)
	d.absent.Store(true)
	for _, x := range leave {
		x.hop()
	}
	d.answered.grow(d.t, 60)
}

// after waits until something was answered for every user that the restore takes away.
func (d *drill) after() {
	d.t.Helper()
	d.lost = make(map[bridge.UserID]string)
	before := d.answered.all()
	testserver.Eventually(d.t, patience, func() error {
		for u, list := range d.answered.all() {
			if n := len(before[u]) + 8; len(list) < n { // more than are under way
				return fmt.Errorf("user %s has %d posts answered, want %d", u, len(list), n)
			}
			d.lost[u] = list[len(list)-1]
		}
		return nil
	})
}

func (d *drill) stopNodes() {
	for _, x := range d.nodes {
		x.end(syscall.SIGKILL)
	}
}

func (d *drill) startNodes() {
	d.t.Helper()
	for _, x := range d.nodes {
		x.start(d.t, testserver.Binary(d.t))
	}
}

// check goes on under load, with all devices, and compares what was answered, what the
// restored server has, and what the devices got.
func (d *drill) check() {
	d.t.Helper()
	for _, x := range d.nodes {
		x.ready(d.t)
	}
	d.answered.grow(d.t, 60)
	d.absent.Store(false)
	d.answered.grow(d.t, 60)
	d.stop()
	after := d.fleet.epoch()
	if after == d.epoch {
		d.t.Errorf("the epoch is still %s", after)
	}
	for u, has := range d.heardAll(d.users, d.heard) {
		for _, m := range d.safe[u] {
			if !slices.Contains(has, m) {
				d.t.Errorf("user %s: what was answered before the backup is not there", u)
				break
			}
		}
		if slices.Contains(has, d.lost[u]) {
			d.t.Errorf("user %s: the restored server has what came after the backup", u)
		}
	}
	for _, x := range d.all {
		x.mu.Lock()
		if x.kind == "5" && x.epoch != after {
			d.t.Errorf("a device of user %s goes on in epoch %s, not %s", x.user, x.epoch, after)
		}
		x.mu.Unlock()
	}
}

func (d *drill) shell(commands string, env ...string) {
	d.t.Helper()
	d.pg.Shell(d.t, commands, append(env, "OWNER=bridge", "BACKUPS="+d.pg.Dir()+"/backups")...)
}

func (d *drill) start() {
	d.t.Helper()
	if err := d.pg.Start(); err != nil {
		d.t.Fatal(err)
	}
}

func TestADumpRestoresAllItHas(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"in the same cluster": false, "in another cluster": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocks := testserver.Documented(t, "docs/backup.md", "Postgres: dump")
			if len(blocks) != 3 {
				t.Fatalf("the commands are %q; want the dump, and a restore in the same and another cluster", blocks)
			}
			d := newDrill(t)
			d.begin()
			d.safe = d.answered.all()
			d.shell(blocks[0])
			d.after()
			d.stopNodes()
			if again {
				d.pg.Replace(t) // its transaction ids begin again, below those in the dump
				d.shell(blocks[2])
			} else {
				d.shell(blocks[1])
			}
			d.startNodes()
			d.check()
		})
	}
}

func TestABaseBackupRestoresAllItHas(t *testing.T) {
	t.Parallel()
	blocks := testserver.Documented(t, "docs/backup.md", "Postgres: base backup")
	if len(blocks) != 3 {
		t.Fatalf("the commands are %q; want the backup, the restore and what follows the start", blocks)
	}
	d := newDrill(t)
	d.begin()
	d.safe = d.answered.all()
	d.shell(blocks[0])
	d.after()
	d.stopNodes()
	if err := d.pg.Stop(); err != nil {
		t.Fatal(err)
	}
	d.shell(blocks[1])
	d.start()
	d.startNodes()
	d.shell(blocks[2])
	d.check()
}

// The cluster dies as in a power cut while the nodes live on, and goes back to a moment
// between the base backup and that.
func TestAPointInTimeRestoresAllUpToIt(t *testing.T) {
	t.Parallel()
	base := testserver.Documented(t, "docs/backup.md", "Postgres: base backup")
	blocks := testserver.Documented(t, "docs/backup.md", "Postgres: point in time")
	if len(blocks) != 3 {
		t.Fatalf("the commands are %q; want the archive, the restore and what follows the start", blocks)
	}
	d := newDrill(t)
	d.shell(blocks[0])
	d.pg.Reconfigure(t, "") // restarts
	d.begin()
	d.shell(base[0])
	d.answered.grow(t, 30)
	d.safe = d.answered.all()
	until := time.Now().UTC().Format("2006-01-02 15:04:05.000000-07")
	d.after()
	if err := d.pg.Kill(); err != nil {
		t.Fatal(err)
	}
	d.shell(blocks[1], "UNTIL="+until)
	d.start()
	testserver.Eventually(t, patience, d.pg.Writable)
	d.shell(blocks[2])
	d.check()
}
