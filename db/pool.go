package db

import "database/sql"

// Pools are the figures of each pool of connections, by what it is for.
func (d *DB) Pools() map[string]sql.DBStats {
	pools := map[string]sql.DBStats{"read": d.read.Stats()}
	if d.write != d.read { // SQLite: one connection writes
		pools["write"] = d.write.Stats()
	}
	if d.log != d.write { // Postgres: the committer has its own
		pools["append"] = d.log.Stats()
	}
	return pools
}
