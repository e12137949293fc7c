package broker

import (
	"container/list"
	"net/netip"
)

// lobby holds the sockets before login by origin, in the order they came, and the
// origins by how many they hold: so that, when it is full, the oldest of the
// origin that holds most is found without a search.
type lobby struct {
	seats   map[*conn]*list.Element // in its party
	parties map[origin]*party
	sizes   map[int]*list.List // parties of each size, the first to reach it first
	most    int                // the largest size
}

// origin is where sockets come from. Those of a proxy that has not said for whom
// are apart from its own.
type origin struct {
	from   netip.Addr
	behind bool
}

func (c *conn) origin() origin { return origin{c.from, c.behind} }

// party are the sockets of one origin.
type party struct {
	of    origin
	conns list.List
	place *list.Element // among those of its size
}

func (l *lobby) init() {
	l.seats = make(map[*conn]*list.Element)
	l.parties = make(map[origin]*party)
	l.sizes = make(map[int]*list.List)
}

func (l *lobby) len() int { return len(l.seats) }

func (l *lobby) has(c *conn) bool { return l.seats[c] != nil }

// count is how many sockets of an origin are in.
func (l *lobby) count(o origin) int {
	if p := l.parties[o]; p != nil {
		return p.conns.Len()
	}
	return 0
}

// add takes c in, which is not in.
func (l *lobby) add(c *conn) {
	p := l.parties[c.origin()]
	if p == nil {
		p = &party{of: c.origin()}
		l.parties[p.of] = p
	}
	l.leave(p)
	l.seats[c] = p.conns.PushBack(c)
	l.join(p)
}

// remove lets c go, if it is in. Its origin is that of add.
func (l *lobby) remove(c *conn) {
	seat := l.seats[c]
	if seat == nil {
		return
	}
	p := l.parties[c.origin()]
	l.leave(p)
	p.conns.Remove(seat)
	delete(l.seats, c)
	if p.conns.Len() == 0 {
		delete(l.parties, p.of)
	} else {
		l.join(p)
	}
	if l.sizes[l.most] == nil && l.most > 0 { // p was the only one of that size
		l.most--
	}
}

// oldest is the socket that came first of those of the origin that holds most; nil
// where nobody is in.
func (l *lobby) oldest() *conn {
	if l.most == 0 {
		return nil
	}
	p := l.sizes[l.most].Front().Value.(*party)
	return p.conns.Front().Value.(*conn)
}

// leave takes p from those of its size.
func (l *lobby) leave(p *party) {
	n := p.conns.Len()
	if n == 0 {
		return
	}
	l.sizes[n].Remove(p.place)
	if l.sizes[n].Len() == 0 {
		delete(l.sizes, n)
	}
}

// join puts p last among those of its size.
func (l *lobby) join(p *party) {
	n := p.conns.Len()
	if l.sizes[n] == nil {
		l.sizes[n] = list.New()
	}
	p.place = l.sizes[n].PushBack(p)
	l.most = max(l.most, n)
}
