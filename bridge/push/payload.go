package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

// maxPayload is what fits one message: a record of 4,096 bytes, which push services
// take at least (RFC 8030 §7.2), less the 86 bytes of the header of aes128gcm, the 16 of
// its tag and the delimiter (RFC 8188 §2).
const maxPayload = 4096 - 86 - 16 - 1

// message is Declarative Web Push's form, which iOS shows by itself where the service
// worker does not run.
type message struct {
	WebPush      int     `json:"web_push"` // always 8030
	Notification content `json:"notification"`
}

type content struct {
	Title    string          `json:"title"`
	Body     string          `json:"body,omitempty"`
	Navigate string          `json:"navigate"`
	Data     json.RawMessage `json:"data,omitempty"`
}

func (c content) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(message{8030, c}) // strings and JSON that was read cannot fail
	return bytes.TrimRight(b.Bytes(), "\n")
}

// one is the payload of one notification. What does not fit is cut: the text first,
// down to a few lines, then the application's data, then the address.
func singlePayload(n *bridge.Notification, base *url.URL) []byte {
	inbox := navigate(base, "")
	c := content{Title: n.Title, Body: n.Message, Navigate: navigate(base, n.URL), Data: itemData(n, true)}
	const line = 200 // characters
	for _, cut := range []func(){
		func() { c.Body = fit(c, c.Body, line) },
		func() { c.Data = itemData(n, false) },
		func() { c.Body = fit(c, n.Message, line) },
		func() { c.Navigate = inbox },
		func() { c.Body = fit(c, n.Message, 0) },
		func() { c.Title = clip(c.Title, 80) }, // of 255 characters that JSON escapes six bytes each
	} {
		if b := c.encode(); len(b) <= maxPayload {
			return b
		}
		cut()
	}
	return c.encode()
}

// fit returns text, shortened to at least least characters so that c fits with it as its
// body.
func fit(c content, text string, least int) string {
	runes := utf8.RuneCountInString(text)
	short, long := min(least, runes), runes
	for short < long { // the longest that fits
		middle := (short + long + 1) / 2
		c.Body = clip(text, middle)
		if len(c.encode()) <= maxPayload {
			short = middle
		} else {
			long = middle - 1
		}
	}
	return clip(text, short)
}

// clip returns the first n characters of s, the last of them an ellipsis where s is longer.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// item is the notification's item without its title and message, and without the
// application's data unless whole.
func itemData(n *bridge.Notification, whole bool) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(n.Item(), &fields) != nil {
		return nil
	}
	delete(fields, "title")
	delete(fields, "message")
	if !whole {
		delete(fields, "data")
		delete(fields, "url")
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return b
}

// summary is the payload for many at once; ns are ordered by seq.
func summaryPayload(ns []bridge.Notification, base *url.URL, locale bridge.Locale) []byte {
	last := &ns[len(ns)-1]
	data := fmt.Sprintf(`{"summary":%d,"last_seq":%d}`, len(ns), last.Seq)
	return content{Title: locale.Many(len(ns)), Body: clip(last.Title, 120), Navigate: navigate(base, ""), Data: json.RawMessage(data)}.encode()
}

// test is the payload of POST /devices/{client_id}/test.
func testPayload(base *url.URL, locale bridge.Locale) []byte {
	title, body := locale.TestPush()
	return content{Title: title, Body: body, Navigate: navigate(base, ""), Data: json.RawMessage(`{"test":true}`)}.encode()
}

// navigate is link resolved against base, or the inbox where there is no link. Without a
// base both are relative: the browser resolves them against the service worker's scope.
func navigate(base *url.URL, link string) string {
	ref, err := url.Parse(link)
	switch {
	case link == "" || err != nil:
		if base == nil {
			return "/"
		}
		return base.String()
	case base == nil:
		return link
	}
	return base.ResolveReference(ref).String()
}
