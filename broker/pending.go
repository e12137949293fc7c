package broker

import (
	"container/list"
	"net/netip"
)

// pendingConns is the table of connections before login, grouped by origin. Groups are
// indexed by size, so that the oldest connection of the largest group is found without a
// search when the table is full: that is when an attacker makes it happen most often.
type pendingConns struct {
	conns   map[*conn]*list.Element // the element in pendingGroup.conns
	origins map[origin]*pendingGroup
	sizes   map[int]*list.List // groups by size, ordered by when they reached it
	largest int                // the largest size; 0: the table is empty
}

// origin is where a connection comes from. Connections of a trusted proxy that has not
// sent the header yet are a group of their own: they count neither for the proxy's address
// nor for a client's.
type origin struct {
	from          netip.Addr
	awaitingProxy bool
}

func (c *conn) origin() origin { return origin{c.from, c.awaitingProxy} }

// pendingGroup is the pending connections of one origin, oldest first.
type pendingGroup struct {
	origin origin
	conns  list.List
	elem   *list.Element // in pendingConns.sizes
}

func (p *pendingConns) init() {
	p.conns = make(map[*conn]*list.Element)
	p.origins = make(map[origin]*pendingGroup)
	p.sizes = make(map[int]*list.List)
}

func (p *pendingConns) len() int { return len(p.conns) }

func (p *pendingConns) has(c *conn) bool { return p.conns[c] != nil }

// count returns how many connections of an origin are pending.
func (p *pendingConns) count(o origin) int {
	if g := p.origins[o]; g != nil {
		return g.conns.Len()
	}
	return 0
}

// add adds c, which is not pending.
func (p *pendingConns) add(c *conn) {
	g := p.origins[c.origin()]
	if g == nil {
		g = &pendingGroup{origin: c.origin()}
		p.origins[g.origin] = g
	}
	p.unlink(g)
	p.conns[c] = g.conns.PushBack(c)
	p.link(g)
}

// remove removes c, if it is pending. Its origin must be the one it was added with.
func (p *pendingConns) remove(c *conn) {
	elem := p.conns[c]
	if elem == nil {
		return
	}
	g := p.origins[c.origin()]
	p.unlink(g)
	g.conns.Remove(elem)
	delete(p.conns, c)
	if g.conns.Len() == 0 {
		delete(p.origins, g.origin)
	} else {
		p.link(g)
	}
	if p.sizes[p.largest] == nil && p.largest > 0 { // g was the only group of that size
		p.largest--
	}
}

// oldest returns the oldest connection of the origin with the most connections, or nil if
// the table is empty.
func (p *pendingConns) oldest() *conn {
	if p.largest == 0 {
		return nil
	}
	g := p.sizes[p.largest].Front().Value.(*pendingGroup)
	return g.conns.Front().Value.(*conn)
}

// unlink removes g from the groups of its size, before the size changes.
func (p *pendingConns) unlink(g *pendingGroup) {
	n := g.conns.Len()
	if n == 0 {
		return
	}
	p.sizes[n].Remove(g.elem)
	if p.sizes[n].Len() == 0 {
		delete(p.sizes, n)
	}
}

// link adds g to the groups of its size, after the size has changed.
func (p *pendingConns) link(g *pendingGroup) {
	n := g.conns.Len()
	if p.sizes[n] == nil {
		p.sizes[n] = list.New()
	}
	g.elem = p.sizes[n].PushBack(g)
	p.largest = max(p.largest, n)
}
