//go:build !unix || solaris || aix

package app

import (
	"math"
	"os"
)

// lockFile does nothing, as this system has no flock.
func lockFile(*os.File) error { return nil }

// GiveToOwner does nothing, as files on this system have no numeric owner.
func GiveToOwner(string, string) error { return nil }

// openFiles returns no limit, as it is unknown on this system.
func openFiles() uint64 { return math.MaxUint64 }
