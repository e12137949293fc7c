package bridge

// Position is a position in the order of all users' notifications, which only the database can
// interpret. It is safe with late commits: everything before it is committed, and nothing that
// commits later appears before it. "" is the beginning of the log.
type Position string

// Change reports that a user's log has grown.
type Change struct {
	User UserID
	Last Seq // the last seq read
}
