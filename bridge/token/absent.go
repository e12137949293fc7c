package token

import (
	"hash/maphash"
	"time"
)

const (
	// absentLife is short because an issuer may publish a key shortly after it has begun to
	// sign with it.
	absentLife = 30 * time.Second
	maxAbsent  = 1024
)

// absentKids remembers kids that were not in the set after a successful refresh, so that tokens
// with these kids are refused without another refresh, even while the issuer is unavailable. It
// stores 16 bytes per kid. When it is full it forgets all kids, and only the limit on refreshes
// protects the issuer. The zero value is ready to use.
type absentKids struct {
	until map[uint64]time.Time
}

func (a *absentKids) has(kid string, now time.Time) bool {
	return now.Before(a.until[maphash.String(idSeed, kid)])
}

func (a *absentKids) add(kid string, now time.Time) {
	if a.until == nil || len(a.until) >= maxAbsent {
		a.until = make(map[uint64]time.Time)
	}
	a.until[maphash.String(idSeed, kid)] = now.Add(absentLife)
}
