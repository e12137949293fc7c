//go:build !unix || solaris || aix

package app

import (
	"math"
	"os"
)

// lockFile does nothing where the system has no flock.
func lockFile(*os.File) error { return nil }

// GiveToOwner does nothing: the owner is not known by a number here.
func GiveToOwner(string, string) error { return nil }

// openFiles is how many files and sockets the program may have open, as far as is known.
func openFiles() uint64 { return math.MaxUint64 }
