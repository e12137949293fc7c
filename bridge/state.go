package bridge

import "encoding/json"

// Rev counts the changes of the state of a user's inbox: read, unread, deleted, superseded,
// expired, retained out, muted. An append does not count. 0 is before the first change.
type Rev int64

// MaxChanged is the most notifications that a State lists.
const MaxChanged = 200

// State is what changed in a user's inbox between two revs, as the JSON object of the API. It
// applies to an inbox at any rev from From on. Changes are applied in the order of the fields:
// ReadUpTo, Read, UnreadIDs, Deleted. Applying a state again, or a later one instead, has the
// same result.
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
	// Deleted includes superseded, expired and retained out notifications.
	Deleted []int64 `json:"deleted"`
}

// Refetch returns s without the changes, so that the device fetches the list again.
func (s State) Refetch() State {
	s.From, s.ReadUpTo = nil, 0
	s.Read, s.UnreadIDs, s.Deleted = []int64{}, []int64{}, []int64{}
	return s
}

// Encode returns s as JSON.
func (s State) Encode() []byte {
	b, err := json.Marshal(s)
	if err != nil { // impossible: there are only numbers and valid strings
		panic(err)
	}
	return b
}
