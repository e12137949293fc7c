package bridge

// Position is a position in the order over all users, opaque to all but the database. It
// is safe against late commits: what is before it is committed, and nothing that commits
// later comes before it. "" is where the log begins.
type Position string

// Change says that a user's log grew.
type Change struct {
	User UserID
	Last Seq
}
