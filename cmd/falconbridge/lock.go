package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/falconalert/falconbridge/internal/config"
)

// errLocked says that another process holds the lock.
var errLocked = errors.New("it is locked")

// lockDatabase keeps a second server off the SQLite file: the two would not wake each
// other, and each would take the other's commits for a restore. The lock is the
// kernel's, on an empty file beside the database, so it ends with the process however
// that ends; the file stays. Where another server has the lock it fails, and advises
// remedy.
//
// Commands that only pass by (migrate, import) take SQLite's own locks and not this one.
func lockDatabase(c *config.Config, remedy string) (*os.File, error) {
	name, setting := c.SQLiteFile(), c.Database()
	if c.DatabaseURL == "" {
		if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("%s: make the directory: %w; name one that this user can write", setting, err)
		}
	}
	f, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: lock the database: %w; its directory must be there, and this user must be able to write it", setting, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%s: another server runs on %s; %s", setting, name, remedy)
		}
		return nil, fmt.Errorf("%s: lock the database: %w", setting, err)
	}
	return f, nil
}
