package api

import "sync/atomic"

// budget bounds the memory of all bodies that are being read or served, in bytes. The
// first 4 KiB of each body are not counted: the limit of connections bounds those, and a
// small request succeeds while large ones use the whole budget.
type budget struct {
	limit int64
	used  atomic.Int64
}

// acquire reserves n bytes. If fewer are left, it returns false and reserves none.
func (b *budget) acquire(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// release frees n bytes.
func (b *budget) release(n int64) { b.used.Add(-n) }
