//go:build unix && !solaris && !aix

package app

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
)

// lockFile locks f for this process alone until f is closed. It fails with errLocked if
// another process holds the lock. On a file system without locks it does nothing.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return errLocked
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return nil
	}
	return err
}

// GiveToOwner changes the file's owner to that of the directory, if this process runs as
// root: root may restore a database for a server that runs as another user. It does not
// follow symbolic links, by which that user could otherwise obtain any file of the system.
func GiveToOwner(name, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if of, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := os.Lchown(name, int(of.Uid), int(of.Gid)); err != nil {
			return fmt.Errorf("change the owner to the directory's: %w", err)
		}
	}
	return nil
}

// openFiles returns how many files and sockets the program may have open. The Go runtime has
// already raised the limit as far as this user may.
func openFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return math.MaxUint64
	}
	return uint64(l.Cur) //nolint:unconvert // it is signed on FreeBSD
}
