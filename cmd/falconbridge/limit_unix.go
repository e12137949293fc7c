//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFiles is how many files and sockets the program may have open. The runtime
// raised it as far as this user may.
func openFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return math.MaxUint64
	}
	return uint64(l.Cur)
}
