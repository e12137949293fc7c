package delivery_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/falconalert/falconbridge/bridge"
)

// TestModelKeepsEveryInvariant runs random histories of appends, mutes, deletes, reads, connects,
// acknowledgements, lost connections and killed engines on real databases. After every step it
// compares what devices received, and what the history API returns, with a reference model that
// is small enough to be obviously correct: a list of rows and, for each device, a cursor.
func TestModelKeepsEveryInvariant(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("30"); err != nil { // make soak asks for more
			t.Fatal(err)
		}
	}
	for name, url := range databases(t) {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, url)
			n := 0
			rapid.Check(t, func(r *rapid.T) {
				n++ // new users: histories share only the database
				m := &model{t: r, e: e}
				for i := range 2 {
					m.users = append(m.users, &user{id: bridge.UserID(fmt.Sprintf("u%d.%d", n, i)), kinds: make(map[bridge.Kind]bool)})
				}
				r.Repeat(map[string]func(*rapid.T){
					"append": m.append, "batch": m.batch, "mute": m.mute, "mute a kind": m.muteKind, "delete": m.delete, "read": m.read,
					"withdraw": m.withdraw, "expire": m.expire, "sweep": m.sweep,
					"connect": m.connect, "subscribe": m.subscribe, "unsubscribe": m.unsubscribe, "since": m.since,
					"acknowledge": m.acknowledge, "vanish": m.vanish, "kill the engine": m.kill, "": m.check,
				})
				m.end()
			})
		})
	}
}

// row is the model's notification.
type row struct {
	id                   int64
	gone, muted, hasRead bool
	kind                 bridge.Kind

	replaces string
	expires  bool
}

// user is the model's log of one user; the seq of a row is its index plus one.
type user struct {
	id    bridge.UserID
	rows  []row
	muted bool
	kinds map[bridge.Kind]bool // muted kinds
}

// lists reports whether the history lists r.
func (u *user) lists(r row) bool { return !r.gone && !u.muted && !u.kinds[r.kind] }

// GoString keeps a failure's report readable.
func (u *user) GoString() string { return fmt.Sprintf("%s with %d", u.id, len(u.rows)) }

func (u *user) last() bridge.Seq { return bridge.Seq(len(u.rows)) }

// after returns what is deliverable after a seq. It is the whole reference for delivery. A
// notification that was appended while muted is never deliverable. One that was appended before
// the mute is deliverable again when the mute ends, except to devices whose cursor has passed
// it.
func (u *user) after(s bridge.Seq) (out []bridge.Seq) {
	for i, r := range u.rows {
		if seq := bridge.Seq(i + 1); seq > s && u.lists(r) && !r.muted {
			out = append(out, seq)
		}
	}
	return out
}

// latest returns the seq of the retained message, the newest row that is listed, or 0 if there is
// none.
func (u *user) latest() bridge.Seq {
	for i, r := range slices.Backward(u.rows) {
		if u.lists(r) {
			return bridge.Seq(i + 1)
		}
	}
	return 0
}

func (u *user) count() (c bridge.Count) {
	c.Last = u.last()
	for _, r := range u.rows {
		if u.lists(r) {
			c.Total++
			if !r.hasRead {
				c.Unread++
			}
		}
	}
	return c
}

// remove removes the notification with a key, and returns how many there were.
func (u *user) remove(key string) (n int64) {
	for i := range u.rows {
		if r := &u.rows[i]; !r.gone && r.replaces == key {
			r.gone = true
			n++
		}
	}
	return n
}

type model struct {
	t      *rapid.T
	e      *engine
	users  []*user
	phones []*phone
}

func (m *model) user(r *rapid.T) *user { return rapid.SampledFrom(m.users).Draw(r, "user") }

func (m *model) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// added adds what the service returned to the model, and checks that seqs are gapless.
func (m *model) added(res bridge.Result) {
	for _, n := range res.Appended {
		u := m.users[slices.IndexFunc(m.users, func(u *user) bool { return u.id == n.User })]
		if n.Seq != u.last()+1 {
			m.t.Fatalf("%s got seq %d after %d", u.id, n.Seq, u.last())
		}
		if n.Replaces != "" {
			u.remove(n.Replaces)
		}
		u.rows = append(u.rows, row{id: n.ID, kind: n.Kind, muted: u.muted || u.kinds[n.Kind], replaces: n.Replaces, expires: !n.ExpiresAt.IsZero()})
	}
}

func (m *model) append(r *rapid.T) {
	res, err := m.e.service.Notify(m.e.ctx, draft(r, m.user(r)), nil)
	m.ok(err)
	m.added(res)
}

func (m *model) batch(r *rapid.T) {
	var ds []bridge.Draft
	for range rapid.IntRange(1, 12).Draw(r, "size") {
		ds = append(ds, draft(r, m.user(r)))
	}
	res, err := m.e.service.NotifyAll(m.e.ctx, ds, nil)
	m.ok(err)
	m.added(res)
}

var kinds = rapid.SampledFrom([]bridge.Kind{"message", "order.shipped"})

func draft(r *rapid.T, u *user) bridge.Draft {
	d := bridge.Draft{User: u.id, Title: "t", Message: "m", Kind: kinds.Draw(r, "kind"),
		Replaces: rapid.SampledFrom([]string{"", "", "", "a", "b"}).Draw(r, "replaces")}
	if rapid.IntRange(0, 3).Draw(r, "expires") == 0 {
		d.ExpiresIn = time.Hour
	}
	return d
}

func (m *model) withdraw(r *rapid.T) {
	u, key := m.user(r), rapid.SampledFrom([]string{"a", "b"}).Draw(r, "key")
	m.calm(r, u)
	n, err := m.e.service.Withdraw(m.e.ctx, u.id, key)
	m.ok(err)
	if want := u.remove(key); n != want {
		r.Fatalf("withdrew %d of %s, want %d", n, key, want)
	}
}

// expire makes one notification expire. The databases' clocks cannot be changed, so its expiry is.
// The hint makes pumps discard cached items, as the passage of time would.
func (m *model) expire(r *rapid.T) {
	u, w := m.some(r)
	if !w.expires || w.gone {
		r.Skip("it does not expire")
	}
	m.calm(r, u)
	m.e.expire(w.id)
	m.e.hub.Hint(bridge.Hint{Type: bridge.HintMuted, User: u.id})
	w.gone = true
}

// sweep removes expired rows. No read returns them any more, so nothing else changes.
func (m *model) sweep(*rapid.T) {
	_, _, err := m.e.db.ExpireNotifications(m.e.ctx, 3)
	m.ok(err)
}

// calm leaves out what would change a retained copy that waits for its window.
func (m *model) calm(r *rapid.T, u *user) {
	for _, p := range m.phones {
		if p.user == u && p.conn != nil && p.wantCopy > 0 {
			r.Skip("a retained copy is under way")
		}
	}
}

func (m *model) mute(r *rapid.T) {
	u := m.user(r)
	m.calm(r, u)
	on := rapid.Bool().Draw(r, "enabled")
	_, _, err := m.e.service.ChangeSettings(m.e.ctx, u.id, bridge.SettingsChange{ReviewEnabled: &on})
	m.ok(err)
	u.muted = !on
}

func (m *model) muteKind(r *rapid.T) {
	u, kind := m.user(r), kinds.Draw(r, "kind")
	m.calm(r, u)
	on := rapid.Bool().Draw(r, "enabled")
	_, done, err := m.e.service.ChangeSettings(m.e.ctx, u.id, bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{kind: &on}})
	m.ok(err)
	if !done {
		r.Fatal("the steps of a few rows are not done")
	}
	u.kinds[kind] = !on
}

func (m *model) some(r *rapid.T) (*user, *row) {
	u := m.user(r)
	if len(u.rows) == 0 {
		r.Skip("no rows")
	}
	return u, &u.rows[rapid.IntRange(0, len(u.rows)-1).Draw(r, "row")]
}

func (m *model) delete(r *rapid.T) {
	u, w := m.some(r)
	m.calm(r, u)
	err := m.e.service.Delete(m.e.ctx, u.id, w.id)
	if (err == nil) == w.gone {
		r.Fatalf("delete answered %v, gone before: %v", err, w.gone)
	}
	w.gone = true
}

func (m *model) read(r *rapid.T) {
	u, w := m.some(r)
	if !u.lists(*w) {
		r.Skip("not listed")
	}
	unread, err := m.e.service.Read(m.e.ctx, u.id, w.id)
	m.ok(err)
	w.hasRead = true
	if want := u.count().Unread; unread != want {
		r.Fatalf("%d unread, want %d", unread, want)
	}
}

// check compares counts and deliveries after every step, once nothing changes any more.
func (m *model) check(*rapid.T) {
	for _, u := range m.users {
		got, err := m.e.service.Count(m.e.ctx, u.id)
		m.ok(err)
		if want := u.count(); got != want {
			m.t.Fatalf("%s counts %+v, want %+v", u.id, got, want)
		}
	}
	for _, p := range m.phones {
		p.copies = append(p.copies, p.user.latest())
		p.settle(m.t)
	}
}

// end makes every device reconnect and acknowledge everything, and checks that nothing is lost.
func (m *model) end() {
	for _, p := range m.phones {
		if !p.exists || !p.subscribed {
			continue
		}
		if p.conn == nil {
			p.open(m, connectAs{})
		}
		for {
			p.settle(m.t)
			if len(p.out)+len(p.due) == 0 {
				break
			}
			p.ack(m.t, slices.Concat(p.due, p.out))
		}
		if rest := p.user.after(p.pos); len(rest) > 0 {
			m.t.Fatalf("%s never received %v", p.device.ClientID, rest)
		}
	}
	for _, p := range m.phones {
		if p.conn != nil {
			p.conn.Close()
		}
	}
}

// databases are the URLs of the databases that the model runs on.
func databases(t *testing.T) map[string]string {
	return map[string]string{"SQLite": sqliteURL(t), "Postgres": postgresURL(t)}
}

const testTimeout = 10 * time.Second

var background = context.Background()
