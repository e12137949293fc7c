package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

// maxPayload is the largest payload in bytes: the record of 4,096 bytes that every push service
// must accept (RFC 8030 §7.2), less the 86 bytes of the aes128gcm header, the 16 of its tag and
// the delimiter (RFC 8188 §2).
const maxPayload = 4096 - 86 - 16 - 1

// message has the format of Declarative Web Push, which iOS displays even if the service worker
// does not run.
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
	_ = e.Encode(message{8030, c}) // cannot fail for strings and valid JSON
	return bytes.TrimRight(b.Bytes(), "\n")
}

// singlePayload returns the payload of one notification. If it is too large, singlePayload
// shortens the text to a few lines, then removes the application's data, then the link.
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
		func() { c.Title = clip(c.Title, 80) }, // 255 characters may take six bytes each when JSON escapes them
	} {
		if b := c.encode(); len(b) <= maxPayload {
			return b
		}
		cut()
	}
	return c.encode()
}

// fit shortens text so that c does not exceed maxPayload with text as its body, but to no fewer
// than minimum characters.
func fit(c content, text string, minimum int) string {
	runes := utf8.RuneCountInString(text)
	short, long := min(minimum, runes), runes
	for short < long { // binary search for the longest that fits
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

// clip returns s, or if it is longer than n characters its first n-1 and an ellipsis.
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

// itemData returns the notification's item without title and message. Without withData, the
// application's data and the link are missing as well.
func itemData(n *bridge.Notification, withData bool) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(n.Item(), &fields) != nil {
		return nil
	}
	delete(fields, "title")
	delete(fields, "message")
	if !withData {
		delete(fields, "data")
		delete(fields, "url")
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return b
}

// summaryPayload returns the payload for several notifications, ordered by seq.
func summaryPayload(ns []bridge.Notification, base *url.URL, locale bridge.Locale) []byte {
	last := &ns[len(ns)-1]
	data := fmt.Sprintf(`{"summary":%d,"last_seq":%d}`, len(ns), last.Seq)
	return content{Title: locale.Many(len(ns)), Body: clip(last.Title, 120), Navigate: navigate(base, ""), Data: json.RawMessage(data)}.encode()
}

// testPayload returns the payload of POST /devices/{client_id}/test.
func testPayload(base *url.URL, locale bridge.Locale) []byte {
	title, body := locale.TestPush()
	return content{Title: title, Body: body, Navigate: navigate(base, ""), Data: json.RawMessage(`{"test":true}`)}.encode()
}

// navigate returns link resolved against base, or the URL of the inbox if there is no link.
// Without a base both are relative, and the browser resolves them against the scope of the
// service worker.
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
