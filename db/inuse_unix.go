//go:build unix && !solaris && !aix

package db

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// deadManSwitch is the byte of a WAL's index (-shm) that every connection keeps locked
// for as long as it is open: UNIX_SHM_DMS in SQLite's os_unix.c.
const deadManSwitch = 128

var errInUse = errors.New("a process has the database open; stop it first")

// inUse fails if another process has the SQLite database at path open in WAL mode, as
// every server and command of this program does. A killed process leaves the -shm file
// behind, but no lock on it.
func inUse(path string) error {
	f, err := os.OpenFile(path+"-shm", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check whether the database is in use: %w", err)
	}
	defer func() { _ = f.Close() }()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: deadManSwitch, Len: 1}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return fmt.Errorf("check whether the database is in use: %w", err)
	}
	if lock.Type != syscall.F_UNLCK {
		return errInUse
	}
	return nil
}
