package web

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/bridge"
)

// policy is the pages' Content-Security-Policy: nothing inline, no other host, no frame,
// no form target. connect-src 'self' covers ws: and wss: to the same host and port (CSP 3
// §6.7.2.8); TestTheBrowserEnforcesThePolicy checks that.
var policy = strings.Join([]string{
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"connect-src 'self'",
	"img-src 'self' data:",
	"worker-src 'self'",
	"manifest-src 'self'",
	"frame-ancestors 'none'",
	"base-uri 'none'",
	"form-action 'none'",
	"require-trusted-types-for 'script'",
	"trusted-types falconbridge", // the service worker's address, clients/js/src/push.ts
}, "; ")

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// openToAll lets pages of every origin import the JavaScript client, which is public code
// and the same for every caller. --cors-origins decides which calls those pages may then
// make. X-TypeScript-Types is for tools that import from a URL, such as Deno.
func openToAll(h http.Header, at string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if name, ok := strings.CutSuffix(path.Base(at), ".js"); ok && !strings.Contains(at, "/vendor/") {
		h.Set("X-TypeScript-Types", "./"+name+".d.ts")
	}
}

// problem is the error response for a path or method that no page serves, in the form of
// REST's (RFC 9457), because the path may be that of a REST call, misspelled. The texts are
// REST's, in English, and translated by [api.Translate].
type problem struct {
	status int
	title  string
	detail string
}

var (
	noPath     = problem{http.StatusNotFound, "Not found", "there is no such path; /openapi.json lists all paths"}
	notAllowed = problem{http.StatusMethodNotAllowed, "Method not allowed", "this path allows GET, HEAD"}
)

func (p problem) write(w http.ResponseWriter, l bridge.Locale) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", string(l))
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(p.status)
	_, _ = fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n", api.Translate(l, p.title), p.status, api.Translate(l, p.detail))
}
