package api

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"
)

// Limits of bodies, in bytes. The texts of problems and the OpenAPI document are derived
// from them; TestNumbersInTextsAreTheConstants compares docs/configuration.md.
const (
	MaxBody      = 256 << 10
	MaxBatchBody = 4 << 20

	maxBodies = 128 << 20 // of all bodies over firstBody at one time
)

// size returns a number of bytes in the unit that divides it, such as "256 KiB".
func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// checkBody checks the headers that describe the body of r.
func checkBody(r *http.Request, rule *rule) error {
	if r.ContentLength == 0 {
		if rule.optional {
			return nil
		}
		return &problem{kind: malformed, detail: "the body is empty"}
	}
	if err := checkType(r.Header); err != nil {
		return err
	}
	if r.ContentLength > rule.maxBody {
		return &problem{kind: tooLarge, detail: fmt.Sprintf("the body has more than %d bytes", rule.maxBody)}
	}
	// huma parses the parameters of a media type differently, so it only sees the type
	// that was accepted.
	r.Header["Content-Type"] = jsonType
	return nil
}

var jsonType = []string{"application/json"}

// checkType accepts uncompressed JSON in UTF-8. A request without a Content-Type is
// accepted, too: its body still has to decode.
func checkType(h http.Header) error {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &problem{kind: unsupported, detail: "the body must be sent without a Content-Encoding"}
	}
	ct := h.Get("Content-Type")
	if ct == "" || ct == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err != nil || media != "application/json" {
		return &problem{kind: unsupported, detail: "the Content-Type must be application/json"}
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return &problem{kind: unsupported, detail: "the charset of the Content-Type must be utf-8; application/json alone is enough"}
	}
	return nil
}

func bodyError(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return &problem{kind: timedOut}
	}
	return &problem{kind: malformed, detail: "the body is shorter than announced, or its framing is invalid"}
}

// checkMark refuses a byte order mark by name: it is invisible in editors, and RFC 8259
// §8.1 forbids it.
func checkMark(body []byte) error {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return &problem{kind: malformed, detail: "the body begins with a byte order mark (BOM); send it without one"}
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")):
		return &problem{kind: malformed, detail: "the body is in UTF-16, with a byte order mark (BOM); send UTF-8 without one"}
	}
	return nil
}
