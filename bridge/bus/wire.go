package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/falconalert/falconbridge/bridge"
)

// Message is the unit that a bus transmits. It contains hints of one node.
type Message struct {
	Node  string // the sender; "" if it is not a node, such as an application that uses SQL
	All   bool   // the hints are of too many users to list, so nodes must look for changes themselves
	Hints []bridge.Hint
}

// The wire format is {"n": node, "h": [hint, …]}. SQL functions also write
// {"n": node, "u": [["user", seq], …]} for appends, {"n": node, "all": true}, and hints without a
// node. Decode reads all of them. It ignores fields that a newer node adds, and hints of an
// unknown type.
type wireMessage struct {
	Node  string            `json:"n"`
	All   bool              `json:"all,omitempty"`
	Users []wireUser        `json:"u,omitempty"`
	Hints []json.RawMessage `json:"h,omitempty"`
}

type wireHint struct {
	Type     string        `json:"t"`
	User     bridge.UserID `json:"u,omitempty"` // "" in an appended hint means any user
	Seq      bridge.Seq    `json:"s,omitempty"`
	ClientID string        `json:"c,omitempty"`
	Gen      int64         `json:"g,omitempty"`
	Trace    string        `json:"p,omitempty"` // the traceparent of the notifications from First to Seq
	First    bridge.Seq    `json:"f,omitempty"`
}

// trace returns h's traceparent and First, or zero values if one of them is invalid. A traceparent is
// forwarded to devices unchanged, so an invalid one, which could be any text, must not pass.
func (h *wireHint) trace() (traceparent string, from bridge.Seq) {
	if !bridge.ValidTraceparent(h.Trace) || h.First < 1 || h.First > h.Seq {
		return "", 0
	}
	return h.Trace, h.First
}

// wireTypes are letters, so that the constants of package bridge may be reordered.
var wireTypes = map[bridge.HintType]string{
	bridge.HintAppended: "a",
	bridge.HintMuted:    "m",
	bridge.HintTakeover: "t",
	bridge.HintEnd:      "e",
	bridge.HintState:    "s",
}

var hintTypes = func() map[string]bridge.HintType {
	m := make(map[string]bridge.HintType, len(wireTypes))
	for t, letter := range wireTypes {
		m[letter] = t
	}
	return m
}()

// wireUser is a pair of user and seq.
type wireUser struct {
	user bridge.UserID
	seq  bridge.Seq
}

// UnmarshalJSON decodes ["user", seq]. b is valid JSON, and no user id contains a comma.
func (u *wireUser) UnmarshalJSON(b []byte) error {
	i := bytes.LastIndexByte(b, ',')
	if i < 0 || b[0] != '[' {
		return errors.New("not a pair of user and seq")
	}
	if err := u.user.UnmarshalJSON(bytes.TrimSpace(b[1:i])); err != nil {
		return err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b[i+1:len(b)-1])), 10, 64)
	u.seq = bridge.Seq(n)
	return err
}

// Encode encodes hints of node as messages of at most limit bytes each. It leaves out the hints'
// Items, which never leave the process, and skips hints that have an unknown type or are too large
// for a message.
func Encode(node string, hints []bridge.Hint, limit int) (messages [][]byte) {
	head, err := json.Marshal(node)
	if err != nil {
		return nil
	}
	head = append(append([]byte(`{"n":`), head...), `,"h":[`...)
	var m []byte
	for _, h := range hints {
		letter, known := wireTypes[h.Type]
		if !known {
			continue
		}
		w := wireHint{Type: letter, User: h.User, Seq: h.Seq, ClientID: h.ClientID, Gen: h.Gen}
		if h.Traceparent != "" {
			w.Trace, w.First = h.Traceparent, h.From
		}
		b, err := json.Marshal(w)
		if err != nil || len(head)+len(b)+len(`]}`) > limit {
			continue
		}
		if m != nil && len(m)+len(`,`)+len(b)+len(`]}`) > limit {
			messages, m = append(messages, append(m, `]}`...)), nil
		}
		if m == nil {
			m = append(m, head...)
		} else {
			m = append(m, ',')
		}
		m = append(m, b...)
	}
	if m != nil {
		messages = append(messages, append(m, `]}`...))
	}
	return messages
}

// Decode decodes a message. It skips invalid hints.
func Decode(b []byte) (Message, error) {
	var w wireMessage
	if err := json.Unmarshal(b, &w); err != nil {
		return Message{}, errors.New("not a message of hints") // err is dropped because it may quote b
	}
	m := Message{Node: w.Node, All: w.All}
	for _, u := range w.Users {
		m.Hints = append(m.Hints, bridge.Hint{Type: bridge.HintAppended, User: u.user, Seq: u.seq, Node: w.Node})
	}
	for _, raw := range w.Hints {
		var h wireHint
		if json.Unmarshal(raw, &h) != nil {
			continue
		}
		if t, known := hintTypes[h.Type]; known && (h.User != "" || t == bridge.HintAppended) {
			trace, from := h.trace()
			m.Hints = append(m.Hints, bridge.Hint{Type: t, User: h.User, Seq: h.Seq, ClientID: h.ClientID, Gen: h.Gen, Node: w.Node, Traceparent: trace, From: from})
		}
	}
	return m, nil
}

// Deliver passes the hints of the message b to h and returns how many there were. It ignores
// messages that node itself sent, and anything that is not a message, since any client that can
// reach the server may publish on its channels.
func Deliver(b []byte, node string, h bridge.HintHandler) (hints int) {
	if sentBy(b, node) {
		return 0
	}
	m, err := Decode(b)
	if err != nil || m.Node == node && node != "" {
		return 0
	}
	if m.All {
		h.Reconnected()
	}
	for _, hint := range m.Hints {
		h.Hint(hint)
	}
	return len(m.Hints)
}

// sentBy reports whether the first field of b names node as the sender. On some buses a node
// receives all its own messages, and this avoids decoding them.
func sentBy(b []byte, node string) bool {
	if node == "" {
		return false
	}
	for _, part := range [...]string{"{", `"n"`, ":", `"`} {
		rest, found := bytes.CutPrefix(bytes.TrimLeft(b, " "), []byte(part))
		if !found {
			return false
		}
		b = rest
	}
	rest, found := bytes.CutPrefix(b, []byte(node))
	return found && bytes.HasPrefix(rest, []byte{'"'})
}
