package bridge

import "encoding/json"

// Rev counts the changes of a user's inbox state: read, unread, deleted, superseded,
// expired, retained out, muted. An append is none. 0 stands before the first.
type Rev int64

// MaxChanged is how many notifications a State names at most.
const MaxChanged = 200

// State is what changed of a user's inbox between two revs, as the contract's JSON object.
// It applies to an inbox at any rev of at least From, in the order of the fields: ReadUpTo,
// Read, UnreadIDs, Deleted. Applying it twice, or a later one in its place, gives the same.
type State struct {
	Rev           Rev          `json:"rev"`
	From          *Rev         `json:"from"` // nil: fetch the list again
	Last          Seq          `json:"last_seq"`
	Unread        int64        `json:"unread"` // counts are as of Last
	Total         int64        `json:"total"`
	ReviewEnabled int          `json:"is_review_enabled"`
	Kinds         map[Kind]int `json:"kinds"`
	ReadUpTo      Seq          `json:"read_up_to"` // 0: unchanged
	Read          []int64      `json:"read"`
	UnreadIDs     []int64      `json:"unread_ids"`
	// Deleted includes superseded, expired and retained out.
	Deleted []int64 `json:"deleted"`
}

// Refetch returns s without what changed: the device fetches the list again.
func (s State) Refetch() State {
	s.From, s.ReadUpTo = nil, 0
	s.Read, s.UnreadIDs, s.Deleted = []int64{}, []int64{}, []int64{}
	return s
}

// Encode returns s as JSON.
func (s State) Encode() []byte {
	b, err := json.Marshal(s)
	if err != nil { // numbers and names of kinds
		panic(err)
	}
	return b
}
