package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// intParam is an integer of the query: how it is read, and how it is documented.
type intParam struct {
	name      string
	low, high int64
	def       int64 // where it is left out
	about     string
}

var (
	limitParam = intParam{"limit", 1, bridge.MaxPage, bridge.DefaultPage, "How many to return at most."}
	beforeSeq  = intParam{"before", 1, maxSafeInteger, 0, "Only seqs below this one. Not together with `after`."}
	afterSeq   = intParam{"after", 0, maxSafeInteger, -1, "Only seqs above this one, and then oldest first."}
	beforeID   = intParam{"before", 1, maxSafeInteger, 0, "Only ids below this one."}
)

func (p intParam) read(c *call) int64 {
	s, sent := c.query[p.name]
	if !sent {
		return p.def
	}
	n, ok := parseInteger([]byte(s[0]))
	if !ok || n < p.low || n > p.high {
		c.bad.Add("query."+p.name, fmt.Sprintf("is an integer from %d to %d", p.low, p.high))
	}
	return n
}

func (p intParam) param() *huma.Param {
	low, high := float64(p.low), float64(p.high)
	s := &huma.Schema{Type: huma.TypeInteger, Minimum: &low, Maximum: &high}
	if p.def > 0 {
		s.Default = p.def
	}
	return &huma.Param{Name: p.name, In: "query", Description: p.about, Schema: s}
}

// unread reads the query's unread.
func (c *call) unread() bool {
	s, sent := c.query["unread"]
	if !sent {
		return false
	}
	switch s[0] {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	c.bad.Add("query.unread", "is true or false")
	return false
}

// next sets the Link header (RFC 8288) to the page after this one: the same
// query, with cursor moved. The reference is the query alone, which resolves
// against the address the caller used (RFC 3986 §5.2): a proxy may serve the API
// below a path that this server never sees.
func (c *call) next(cursor, to string) {
	q := url.Values{cursor: {to}}
	for _, kept := range []string{"limit", "unread", "user", "created_by"} {
		if s := c.query[kept]; len(s) > 0 {
			q.Set(kept, s[0])
		}
	}
	c.w.Header().Set("Link", "<?"+q.Encode()+`>; rel="next"`)
}

func (a *api) listOwn(ctx context.Context, c *call) error { return a.list(ctx, c, c.claims.User) }

func (a *api) listOther(ctx context.Context, c *call) error { return a.list(ctx, c, c.user()) }

// list answers with a page of u's history.
func (a *api) list(ctx context.Context, c *call, u bridge.UserID) error {
	if _, err := c.values(); err != nil {
		return err
	}
	after := afterSeq.read(c)
	q := bridge.Query{
		User: u, Limit: int(limitParam.read(c)), Unread: c.unread(),
		Before: bridge.Seq(beforeSeq.read(c)), After: bridge.Seq(max(after, 0)), Forward: after >= 0,
	}
	if c.query.Has("before") && c.query.Has("after") {
		c.bad.Add("query.before", "is not used together with after")
	}
	if err := c.bad.Err(); err != nil {
		return err
	}
	page, err := a.o.Service.List(ctx, q)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("X-Last-Seq", strconv.FormatInt(int64(page.Count.Last), 10))
	h.Set("X-Unread-Count", strconv.FormatInt(page.Count.Unread, 10))
	h.Set("X-Epoch", a.o.Service.Epoch())
	if page.More && len(page.Items) > 0 {
		cursor := "before"
		if q.Forward {
			cursor = "after"
		}
		c.next(cursor, strconv.FormatInt(int64(page.Items[len(page.Items)-1].Seq), 10))
	}
	size := 2
	items := make([][]byte, len(page.Items))
	for i := range page.Items {
		items[i] = page.Items[i].Item()
		size += len(items[i]) + 1
	}
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(size - min(len(items), 1))}
	c.w.WriteHeader(http.StatusOK)
	writeArray(c.w, items)
	return nil
}

// writeArray writes items as they are. An error means that the caller has gone.
func writeArray(w http.ResponseWriter, items [][]byte) {
	sep := []byte("[")
	for _, item := range items {
		if _, err := w.Write(sep); err != nil {
			return
		}
		if _, err := w.Write(item); err != nil {
			return
		}
		sep = []byte(",")
	}
	if len(items) == 0 {
		_, _ = w.Write(sep)
	}
	_, _ = w.Write([]byte("]"))
}

// json answers with v, which always can be written as JSON.
func (c *call) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	return c.reply(status, b)
}

// stamp is a time as items write it: RFC 3339 in UTC with milliseconds.
type stamp time.Time

func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// Schema describes a stamp to huma.
func (stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "UTC, with milliseconds.", Examples: []any{"2025-10-24T02:21:32.000Z"}}
}
