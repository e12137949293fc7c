package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// shown is what a person is shown of a notification, as the item has it.
type shown struct {
	Seq       uint64          `json:"seq"`
	Kind      string          `json:"kind"`
	Title     string          `json:"title"`
	Message   string          `json:"message"`
	CreatedAt time.Time       `json:"created_at"`
	ReportID  int64           `json:"report_id"`
	StatusID  bridge.Status   `json:"status_id"`
	Data      json.RawMessage `json:"data"`
}

// jsonLine is an item as one line of JSON.
func jsonLine(item []byte) ([]byte, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, item); err != nil {
		return nil, err
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// show is an item for a person: the title behind its seq, what it says below, and
// the rest in a dim line.
func (s style) show(item []byte) ([]byte, error) {
	var n shown
	if err := json.Unmarshal(item, &n); err != nil {
		return nil, err
	}
	seq := fmt.Sprintf("#%d ", n.Seq)
	indent := "\n" + strings.Repeat(" ", len(seq))
	title := bold
	switch n.StatusID {
	case bridge.Approved:
		title = bold + ";" + green
	case bridge.Rejected:
		title = bold + ";" + red
	}
	out := s.paint(dim, seq) + s.paint(title, harmless(n.Title))
	for line := range strings.Lines(n.Message) {
		out += indent + harmless(strings.TrimRight(line, "\r\n"))
	}
	rest := n.CreatedAt.Local().Format("2006-01-02 15:04:05") + " · " + harmless(n.Kind)
	if n.ReportID != 0 {
		rest += fmt.Sprintf(" · report %d", n.ReportID)
	}
	if len(n.Data) > 0 {
		rest += " · " + harmless(string(n.Data))
	}
	return []byte(out + indent + s.paint(dim, rest) + "\n"), nil
}
