package broker

import (
	"container/list"
	"net/netip"
)

// pendingConns are the connections before login, grouped by origin. The groups are kept
// by size, so that when the table is full, the oldest connection of the origin that has
// most is found without a search.
type pendingConns struct {
	conns   map[*conn]*list.Element // its element in the conns of its group
	origins map[origin]*pendingGroup
	sizes   map[int]*list.List // groups of each size, the first to reach it first
	largest int                // the largest size; 0: there is none
}

// origin is where a connection comes from. A connection whose trusted proxy has not sent
// its header yet counts apart from those of the proxy's own address.
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
	if p.sizes[p.largest] == nil && p.largest > 0 { // g was the only one of that size
		p.largest--
	}
}

// oldest returns the oldest connection of the origin that has most, or nil where none
// is pending.
func (p *pendingConns) oldest() *conn {
	if p.largest == 0 {
		return nil
	}
	g := p.sizes[p.largest].Front().Value.(*pendingGroup)
	return g.conns.Front().Value.(*conn)
}

// unlink removes g from the groups of its size. It is called before the size changes.
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

// link adds g to the end of the groups of its size.
func (p *pendingConns) link(g *pendingGroup) {
	n := g.conns.Len()
	if p.sizes[n] == nil {
		p.sizes[n] = list.New()
	}
	g.elem = p.sizes[n].PushBack(g)
	p.largest = max(p.largest, n)
}
