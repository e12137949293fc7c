package bridge

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Seq numbers the notifications of one user: 1, 2, 3 and so on in commit order, without gaps.
// No seq is used twice. 0 is before the first one.
type Seq int64

// Limits of what a notification carries. Characters are Unicode code points.
const (
	MaxTitle   = 255  // characters, at least 1
	MaxMessage = 4000 // characters, at least 1
	MaxData    = 4096 // bytes of compact JSON
	MaxBatch   = 1000 // drafts in one batch
)

// Notification is one row of the log.
type Notification struct {
	ID        int64 // unique over all users
	Seq       Seq
	User      UserID // the recipient; created_by in JSON, for historical reasons
	Kind      Kind
	Title     string
	Message   string
	CreatedAt time.Time       // UTC, millisecond precision
	ReadAt    time.Time       // zero: unread
	ReportID  int64           // 0: none
	StatusID  Status          // 0: none
	Data      json.RawMessage // a compact JSON object, or nil
	URL       string          // the link that it opens; "": none
	Replaces  string          // it superseded the user's earlier ones with the same key; "": none
	ExpiresAt time.Time       // by the database's clock, millisecond precision; zero: never
	By        string          // who made it, see [Draft]; not part of the item
	Muted     bool            // appended while the user or its kind was muted: never delivered, and listed once the mute ends

	item []byte // the encoded item, shared by the response, the hint and all devices
}

// Expired reports whether n has expired at now, by the database's clock.
func (n *Notification) Expired(now time.Time) bool {
	return !n.ExpiresAt.IsZero() && !n.ExpiresAt.After(now)
}

// Life returns the seconds until n expires, rounded up and at least 1, or 0 if it does not
// expire. now returns the time by the database's clock.
func (n *Notification) Life(now func() time.Time) uint32 {
	if n.ExpiresAt.IsZero() {
		return 0
	}
	left := n.ExpiresAt.Sub(now())
	return uint32(max(1, (left+time.Second-1)/time.Second))
}

// Item returns the notification as a JSON item of the API. REST responses and MQTT payloads
// share these bytes; callers must not change them.
func (n *Notification) Item() []byte {
	if n.item != nil {
		return n.item
	}
	return n.appendItem(make([]byte, 0, 192+len(n.Title)+len(n.Message)+len(n.URL)+len(n.Replaces)+len(n.Data)))
}

// Encode stores the encoded item for later calls of Item. Call it before n is shared between
// goroutines.
func (n *Notification) Encode() { n.item = n.Item() }

// MarshalJSON writes the item.
func (n *Notification) MarshalJSON() ([]byte, error) { return n.Item(), nil }

func (n *Notification) appendItem(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, n.ID, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, int64(n.Seq), 10)
	b = append(b, `,"kind":`...)
	b = appendString(b, string(n.Kind))
	b = append(b, `,"title":`...)
	b = appendString(b, n.Title)
	b = append(b, `,"message":`...)
	b = appendString(b, n.Message)
	b = append(b, `,"created_by":`...)
	b = n.User.appendJSON(b)
	b = append(b, `,"created_at":`...)
	b = appendTime(b, n.CreatedAt)
	b = append(b, `,"read_at":`...)
	b = appendTime(b, n.ReadAt)
	if n.ReportID != 0 {
		b = append(b, `,"report_id":`...)
		b = strconv.AppendInt(b, n.ReportID, 10)
	}
	if n.StatusID != 0 {
		b = append(b, `,"status_id":`...)
		b = strconv.AppendInt(b, int64(n.StatusID), 10)
	}
	if n.URL != "" {
		b = append(b, `,"url":`...)
		b = appendString(b, n.URL)
	}
	if n.Replaces != "" {
		b = append(b, `,"replaces":`...)
		b = appendString(b, n.Replaces)
	}
	if !n.ExpiresAt.IsZero() {
		b = append(b, `,"expires_at":`...)
		b = appendTime(b, n.ExpiresAt)
	}
	if len(n.Data) > 0 {
		b = append(b, `,"data":`...)
		b = append(b, n.Data...)
	}
	return append(b, '}')
}

// timeFormat is RFC 3339 in UTC with milliseconds, as of JavaScript's toISOString.
const timeFormat = "2006-01-02T15:04:05.000Z"

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, timeFormat)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 §7). Unlike encoding/json it does not
// escape < > &, because the item is not HTML and every byte costs on a mobile network.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
