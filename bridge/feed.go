package bridge

// Position is a commit-safe place in the order over all users, opaque to all but
// the database: everything committed before it is behind it, and nothing that
// commits later ever is. "" is where the log begins.
type Position string

// Change says that a user's log grew.
type Change struct {
	User UserID
	Last Seq
}
