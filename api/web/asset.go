package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// types are the content types by extension. The system's table differs from machine to
// machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".ts":   "application/typescript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
	".md":   "text/plain; charset=utf-8",
	".png":  "image/png",

	".webmanifest": "application/manifest+json; charset=utf-8",
}

// asset is one embedded file, ready to be served.
type asset struct {
	body  []byte
	kind  string
	cache string
	etag  string
	zip   func() []byte // the gzipped body, made at first use; nil if it is not smaller
}

func newAsset(name string, body []byte) *asset {
	sum := sha256.Sum256(body)
	a := &asset{body: body, kind: types[path.Ext(name)], etag: hex.EncodeToString(sum[:8])}
	if a.kind == "" {
		a.kind = "application/octet-stream"
	}
	// Our own files change with the binary, so a browser asks each time and mostly gets
	// 304. Vendored files have their version in the path and never change.
	a.cache = "no-cache"
	if strings.HasPrefix(name, client+"vendor/") {
		a.cache = "public, max-age=31536000, immutable"
	}
	a.zip = sync.OnceValue(func() []byte { return zipped(body) })
	return a
}

// zipped returns body gzipped, or nil if that is not smaller.
func zipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil
	}
	if err := w.Close(); err != nil || b.Len() >= len(body) {
		return nil
	}
	return b.Bytes()
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", a.cache)
	h.Add("Vary", "Accept-Encoding")
	body, etag := a.body, a.etag
	if acceptsGzip(r) {
		if z := a.zip(); z != nil {
			body, etag = z, a.etag+"-gz" // another representation, another strong tag (RFC 9110 §8.8.3.3)
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reports whether the client accepts gzip. It parses as much of
// Accept-Encoding as browsers send: a list of names, where gzip;q=0 is a refusal.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
