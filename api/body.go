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

// Limits of bodies, in bytes.
const (
	MaxBody      = 256 << 10
	MaxBatchBody = 4 << 20
)

// checkBody checks what r announces of its body.
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
	// What was checked is all that huma has to know: it reads parameters of types
	// in its own way.
	r.Header["Content-Type"] = jsonType
	return nil
}

var jsonType = []string{"application/json"}

// checkType wants JSON in UTF-8, as it stands. A request that names no type is
// taken at its word that it has a body: what it is, the decoder finds out.
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
		return &problem{kind: unsupported, detail: "the charset of the Content-Type must be utf-8: send application/json"}
	}
	return nil
}

func bodyError(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return &problem{kind: timedOut}
	}
	return &problem{kind: malformed, detail: "the body ends before its announced length, or is not well framed"}
}

// checkMark names a byte order mark, which no tool shows and RFC 8259 §8.1 forbids.
func checkMark(body []byte) error {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return &problem{kind: malformed, detail: "the body begins with a byte order mark (BOM); send it without one"}
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")):
		return &problem{kind: malformed, detail: "the body is in UTF-16, with a byte order mark (BOM); send UTF-8 without one"}
	}
	return nil
}
