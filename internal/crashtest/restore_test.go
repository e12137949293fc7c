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

// drill rehearses a restore from docs/backup.md under load, with two nodes. Each user has two
// devices that are connected all the time, and two that disconnect before the backup and return
// after the restore.
type drill struct {
	*fleet
	t     *testing.T
	pg    *testserver.PostgresServer
	url   string // used by the nodes, whose role is not a superuser
	users []bridge.UserID

	all      []*device
	received map[bridge.UserID]*texts
	absent   atomic.Bool // whether the network of the devices that leave is down
	answered *messages
	stop     func()
	epoch    string                     // before the restore
	safe     map[bridge.UserID][]string // messages whose 201 came before the moment that is restored
	lost     map[bridge.UserID]string   // one message of each user whose 201 came after that moment
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	pg := testserver.NewPostgres(t)
	d := &drill{t: t, pg: pg, url: strings.Replace(pg.URL, "//falcon@", "//bridge@", 1), users: users(3)}
	d.shell(`mkdir "$BACKUPS"; psql --command='CREATE ROLE bridge LOGIN' --command='ALTER DATABASE falcon OWNER TO bridge'`)
	return d
}

// begin starts the nodes, the devices and the posts, and then disconnects half of the devices.
func (d *drill) begin() {
	d.t.Helper()
	d.fleet = newFleet(d.t, 2, withDatabase(d.url))
	stay := d.devices(d.users, nil)
	leave := d.devices(d.users, func() (net.Conn, error) {
		if d.absent.Load() {
			return nil, errors.New("no network")
		}
		return d.dial()
	})
	d.all = slices.Concat(stay, leave)
	d.received = record(d.all)
	d.epoch = d.fleet.epoch()
	d.answered, d.stop = d.postUnique(d.users)
	d.t.Cleanup(d.stop)
	d.answered.grow(d.t, 60)
	d.absent.Store(true)
	for _, x := range leave {
		x.hop()
	}
	d.answered.grow(d.t, 60)
}

// postAfter waits until every user has a post that the restore will undo and that has got its 201.
func (d *drill) postAfter() {
	d.t.Helper()
	d.lost = make(map[bridge.UserID]string)
	before := d.answered.all()
	testserver.Eventually(d.t, waitLimit, func() error {
		for u, list := range d.answered.all() {
			if n := len(before[u]) + 8; len(list) < n { // more than were in flight
				return fmt.Errorf("%d posts to user %s got a 201, want %d", len(list), u, n)
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

// check continues under load with all devices, and compares the posts that got a 201, what the
// restored server has, and what the devices received.
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
	for u, has := range d.receivedAll(d.users, d.received) {
		for _, m := range d.safe[u] {
			if !slices.Contains(has, m) {
				d.t.Errorf("user %s: a message from before the backup is missing", u)
				break
			}
		}
		if slices.Contains(has, d.lost[u]) {
			d.t.Errorf("user %s: the restored server has a message from after the backup", u)
		}
	}
	for _, x := range d.all {
		x.mu.Lock()
		if x.kind == "5" && x.epoch != after {
			d.t.Errorf("a device of user %s continues in epoch %s, want %s", x.user, x.epoch, after)
		}
		x.mu.Unlock()
	}
}

// shell runs commands on the database server, with the variables that docs/backup.md uses.
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
	for name, replace := range map[string]bool{"in the same cluster": false, "in another cluster": true} {
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
			d.postAfter()
			d.stopNodes()
			if replace {
				d.pg.Replace(t) // its transaction ids start over, below those in the dump
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
	d.postAfter()
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

// The cluster crashes while the nodes keep running, and is restored to a moment between the base
// backup and the crash.
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
	d.postAfter()
	if err := d.pg.Kill(); err != nil {
		t.Fatal(err)
	}
	d.shell(blocks[1], "UNTIL="+until)
	d.start()
	testserver.Eventually(t, waitLimit, d.pg.Writable)
	d.shell(blocks[2])
	d.check()
}
