package api

import "sync/atomic"

// budget bounds the memory of all bodies that are read or served at one time, in
// bytes. The first 4 KiB of each are not counted: connections bound those, and so
// a small request finds room while large ones hold all of it.
type budget struct {
	limit int64
	taken atomic.Int64
}

// take takes n bytes, or none and returns false where so many are not left.
func (b *budget) take(n int64) bool {
	if b.taken.Add(n) > b.limit {
		b.taken.Add(-n)
		return false
	}
	return true
}

// give gives n bytes back.
func (b *budget) give(n int64) { b.taken.Add(-n) }
