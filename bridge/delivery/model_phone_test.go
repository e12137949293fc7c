package delivery_test

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// phone is a device: what it received, and its cursor in the model.
type phone struct {
	user       *user
	device     bridge.Device
	exists     bool // a session is stored
	subscribed bool
	stored     bridge.Seq // the cursor that is certainly in the database; the engine may have written a higher one
	cursor     bridge.Seq // where the next connection starts, unless the engine is killed
	highest    bridge.Seq // the highest seq that was ever sent to it
	window     int

	// While connected:
	conn     *delivery.Conn
	inbox    *inbox
	pos      bridge.Seq   // the last seq received, or where delivery started
	out      []bridge.Seq // received and not acknowledged
	due      []bridge.Seq // the same, from before it unsubscribed or subscribed with since
	wantCopy bridge.Seq   // the retained copy that was due at the SUBSCRIBE; 0: none
	copies   []bridge.Seq // what has been the retained message since then
}

// GoString keeps a failure's report readable.
func (p *phone) GoString() string { return fmt.Sprintf("%s/%s", p.user.id, p.device.ClientID) }

// inbox is the link of a phone.
type inbox struct {
	mu    sync.Mutex
	ms    []delivery.Message
	ended bridge.EndReason

	arrived chan struct{} // has an element after ms has grown
}

func newInbox() *inbox { return &inbox{arrived: make(chan struct{}, 1)} }

func (b *inbox) Send(ms []delivery.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range ms {
		ms[i].Delivered = true
	}
	b.ms = append(b.ms, ms...)
	select {
	case b.arrived <- struct{}{}:
	default:
	}
	return nil
}

func (b *inbox) SendState(delivery.StateMessage) (bool, error) { return true, nil }

func (b *inbox) End(r bridge.EndReason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = r
}

func (b *inbox) drain() []delivery.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	ms := b.ms
	b.ms = nil
	return ms
}

type connectAs struct{ clean bool }

func (m *model) phone(r *rapid.T, connected bool) *phone {
	var fit []*phone
	for _, p := range m.phones {
		if (p.conn != nil) == connected {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		r.Skip("no such phone")
	}
	return rapid.SampledFrom(fit).Draw(r, "phone")
}

func (m *model) connect(r *rapid.T) {
	if len(m.phones) < 3 && rapid.Bool().Draw(r, "new") {
		u := m.user(r)
		id := string(rune('a' + len(m.phones)))
		m.phones = append(m.phones, &phone{user: u, device: bridge.Device{User: u.id, ClientID: id},
			window: rapid.IntRange(1, 5).Draw(r, "receive maximum")})
	}
	if len(m.phones) == 0 {
		r.Skip("no phone")
	}
	p := rapid.SampledFrom(m.phones).Draw(r, "phone") // one that is connected takes itself over
	p.open(m, connectAs{clean: rapid.IntRange(0, 9).Draw(r, "clean") == 0})
}

// open connects p and checks Session Present and the start of the replay.
func (p *phone) open(m *model, as connectAs) {
	if p.conn != nil {
		p.left(p.acked())
	}
	in := newInbox()
	c, present, err := m.e.hub.Connect(m.e.ctx, delivery.ConnectRequest{Device: p.device, Clean: as.clean, Expiry: time.Hour,
		ReceiveMaximum: p.window, Claims: bridge.Claims{User: p.user.id, ExpiresAt: time.Now().Add(time.Hour)}}, in)
	m.ok(err)
	if want := p.exists && !as.clean; present != want {
		m.t.Fatalf("session present %v, want %v", present, want)
	}
	if !present {
		p.subscribed, p.stored, p.cursor, p.highest = false, 0, 0, 0
	}
	p.exists, p.conn, p.inbox, p.pos, p.out = true, c, in, p.cursor, nil
	p.due, p.wantCopy = nil, 0
	c.Resume()
}

// left records that the connection has ended, and its cursor. The cursor is written at the latest
// when the device reconnects, unless the engine is killed before that.
func (p *phone) left(cursor bridge.Seq) { p.conn, p.cursor = nil, cursor }

// killed records the state after an engine was killed that had written written.
func (p *phone) killed(written bridge.Seq) {
	p.stored = max(p.stored, written)
	p.left(p.stored)
}

// acked is the cursor: everything up to it was acknowledged or is not deliverable.
func (p *phone) acked() bridge.Seq {
	if len(p.out) > 0 {
		return slices.Min(p.out) - 1
	}
	return p.pos
}

func (m *model) filter(p *phone) string { return bridge.Topics{}.Status(p.user.id) }

func (m *model) subscribe(r *rapid.T) {
	p := m.phone(r, true)
	req := delivery.SubscribeRequest{Filter: m.filter(p), Subscription: bridge.Subscription{QoS: 1},
		RetainHandling: byte(rapid.IntRange(0, 2).Draw(r, "retain handling"))}
	m.ok(p.conn.Subscribe(m.e.ctx, []delivery.SubscribeRequest{req}, nil)[0])
	if req.RetainHandling == 0 || req.RetainHandling == 1 && !p.subscribed {
		p.wantCopy, p.copies = p.user.latest(), nil
	}
	if !p.subscribed {
		p.subscribed, p.pos, p.stored, p.highest = true, p.user.last(), p.user.last(), 0
	}
	p.conn.Activate(req.Filter)
}

func (m *model) since(r *rapid.T) {
	p := m.phone(r, true)
	if p.wantCopy > 0 {
		r.Skip("a retained copy is under way")
	}
	s := bridge.Seq(rapid.IntRange(0, len(p.user.rows)).Draw(r, "since"))
	req := delivery.SubscribeRequest{Filter: m.filter(p), Subscription: bridge.Subscription{QoS: 1}}
	m.ok(p.conn.Subscribe(m.e.ctx, []delivery.SubscribeRequest{req}, &s)[0])
	p.due = append(p.due, p.out...) // each is sent again, but only after its acknowledgement
	p.subscribed, p.pos, p.stored, p.out = true, s, s, nil
	p.conn.Activate(req.Filter)
}

func (m *model) unsubscribe(r *rapid.T) {
	p := m.phone(r, true)
	existed, err := p.conn.Unsubscribe(m.e.ctx, m.filter(p))
	m.ok(err)
	if existed != p.subscribed {
		r.Fatalf("unsubscribed from something: %v, want %v", existed, p.subscribed)
	}
	p.due = append(p.due, p.out...)
	p.subscribed, p.out, p.wantCopy, p.highest = false, nil, 0, 0 // from here on deliveries are new
}

func (m *model) acknowledge(r *rapid.T) {
	p := m.phone(r, true)
	all := slices.Concat(p.due, p.out)
	if len(all) == 0 {
		r.Skip("nothing in flight")
	}
	p.ack(r, rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, len(all), rapid.ID).Draw(r, "seqs"))
}

func (p *phone) ack(_ *rapid.T, seqs []bridge.Seq) {
	for _, s := range seqs { // in the order drawn
		p.out = slices.DeleteFunc(p.out, func(o bridge.Seq) bool { return o == s })
		p.due = slices.DeleteFunc(p.due, func(o bridge.Seq) bool { return o == s })
	}
	for _, s := range seqs {
		p.conn.Ack(delivery.PacketID(s))
	}
}

func (m *model) vanish(r *rapid.T) {
	p := m.phone(r, true)
	p.conn.Close()
	p.left(p.acked())
}

// settle waits until p has received everything that it must, and checks it.
func (p *phone) settle(t *rapid.T) {
	if p.conn == nil {
		return
	}
	timeout := time.NewTimer(testTimeout)
	defer timeout.Stop()
	for {
		for _, m := range p.inbox.drain() {
			p.got(t, m)
		}
		if p.settled() {
			return
		}
		select {
		case <-p.inbox.arrived:
		case <-timeout.C:
			t.Fatalf("%s/%s is at %d with %v and %v in flight; %v is due, copy %d", p.user.id, p.device.ClientID, p.pos,
				p.due, p.out, p.user.after(p.pos), p.wantCopy)
		}
	}
}

// settled reports whether p has received everything that it must: all is received, the window is
// full, or the next one is still in flight from before.
func (p *phone) settled() bool {
	room := p.window - len(p.out) - len(p.due)
	due := p.user.after(p.pos)
	switch {
	case room <= 0, p.subscribed && len(due) > 0 && slices.Contains(p.due, due[0]):
		return true
	case p.wantCopy > 0:
		return false
	}
	return !p.subscribed || len(due) == 0
}

// got checks one message against the model.
func (p *phone) got(t *rapid.T, m delivery.Message) {
	if m.User != p.user.id {
		t.Fatalf("%s got a message of %s", p.user.id, m.User)
	}
	if m.Retain {
		// It may have waited for the window while newer ones were sent, and have been read
		// again at any time since, if it had expired.
		if p.wantCopy == 0 || m.Seq != p.wantCopy && !slices.Contains(p.copies, m.Seq) {
			t.Fatalf("retained copy %d, due was %d, since then %v", m.Seq, p.wantCopy, p.copies)
		}
		p.wantCopy = 0
		p.conn.Ack(m.PacketID)
		return
	}
	due := p.user.after(p.pos)
	switch {
	case slices.Contains(p.due, m.Seq):
		t.Fatalf("seq %d was sent again on a connection that has not acknowledged it", m.Seq)
	case !p.subscribed || len(due) == 0 || m.Seq != due[0]:
		t.Fatalf("%s/%s got seq %d at %d, due is %v", p.user.id, p.device.ClientID, m.Seq, p.pos, due)
	case m.PacketID != delivery.PacketID(m.Seq):
		t.Fatalf("seq %d has the packet id %d", m.Seq, m.PacketID)
	case m.Seq <= p.highest && !m.Dup:
		t.Fatalf("seq %d was sent before and has no DUP", m.Seq)
	case len(p.out)+len(p.due) >= p.window:
		t.Fatalf("%d in flight, the window is %d", len(p.out)+len(p.due)+1, p.window)
	}
	p.pos, p.highest = m.Seq, max(p.highest, m.Seq)
	p.out = append(p.out, m.Seq)
}
