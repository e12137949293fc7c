package db

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/uptrace/bun"
)

// sidecar is the small file next to a SQLite database, <path>.epoch. It is written after
// the commit that it describes, so it is never ahead of a database that only crashed. One
// that is ahead was written for a later state than the database has.
type sidecar struct {
	Epoch string `json:"epoch"`
	Tick  int64  `json:"tick"`
	Last  int64  `json:"last"` // the highest notification id
}

// ahead reports whether the database went back: its tick (just raised) or its last
// id is behind, or the file is of another life or missing where the database had
// one: a copy put back without it.
func (s *sidecar) ahead(m life, last int64) bool {
	return s == nil || s.Epoch != m.epoch || m.tick <= s.Tick || last < s.Last
}

func sidecarPath(path string) string { return path + ".epoch" }

// readSidecar returns nil where there is none, or none that can be read as one.
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

// writeSidecar replaces the file atomically. It need not survive a power cut: an older
// file only detects less.
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

// lastID is the highest id ever given to a notification.
func lastID(ctx context.Context, db bun.IDB) (id int64, err error) {
	err = db.NewRaw(lastIDSQLite).Scan(ctx, &id)
	return id, err
}
