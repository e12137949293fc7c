package token

import (
	"hash/maphash"
	"time"
)

const (
	// absentLife is short because an issuer may publish a key a moment after it
	// signs with it.
	absentLife = 30 * time.Second
	maxAbsent  = 1024
)

// absentKids remembers kids that a successful refresh did not find, so that the
// tokens that bear them are refused without another look, also while the issuer is
// unavailable. It keeps 16 bytes of each, and forgets all at the bound: then the
// limit on refreshes is what protects the issuer. The zero value is ready to use.
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
