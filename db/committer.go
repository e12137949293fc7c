package db

// waiters is how many transactions may wait for another's lock at once.
const waiters = 4

type committer struct{ d *DB }

func newCommitter(d *DB) *committer { return &committer{d} }

func (c *committer) close() {}
