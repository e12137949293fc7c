package db

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/uptrace/bun"
)

// sidecar is the content of the epoch file next to a SQLite database, <path>.epoch. It is
// written after the commit that it describes, so a crash never leaves it ahead of the
// database. If it is ahead, the database was replaced by an earlier copy.
type sidecar struct {
	Epoch string `json:"epoch"`
	Tick  int64  `json:"tick"`
	Last  int64  `json:"last"` // the highest notification id
}

// ahead reports whether the database went back to an earlier state: its tick (just raised)
// or its last id is behind that of the file, or the file is of another epoch. It also
// reports true if the file is missing. Every database with an epoch has one, so somebody
// must have put a copy in place without it.
func (s *sidecar) ahead(m epochState, last int64) bool {
	return s == nil || s.Epoch != m.epoch || m.tick <= s.Tick || last < s.Last
}

func sidecarPath(path string) string { return path + ".epoch" }

// readSidecar returns nil if the file is missing or is not valid JSON.
func readSidecar(path string) (*sidecar, error) {
	b, err := os.ReadFile(sidecarPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s sidecar
	if json.Unmarshal(b, &s) != nil {
		return nil, nil
	}
	return &s, nil
}

// writeSidecar replaces the file atomically, but does not sync it to disk. After a power cut
// there may be an older file, with which a restore is detected less often.
func writeSidecar(path string, s sidecar) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next := sidecarPath(path) + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, sidecarPath(path))
}

// lastID returns the highest id ever given to a notification, on SQLite.
func lastID(ctx context.Context, db bun.IDB) (id int64, err error) {
	err = db.NewRaw(lastIDSQLite).Scan(ctx, &id)
	return id, err
}
