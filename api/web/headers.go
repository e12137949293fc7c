package web

import (
	"fmt"
	"net/http"
	"path"
	"strings"
)

// policy is the pages' Content-Security-Policy. Nothing inline, no other host, no
// frame, no form target. connect-src 'self' covers ws: and wss: to the same host
// and port (CSP 3 §6.7.2.8), which the browser test proves.
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

// openToAll lets pages of every origin import the JavaScript client: it is public code,
// and no cookie or token makes its bytes differ. What it may then call is decided by
// --cors-origins. The types are named for tools that read them from a URL (Deno).
func openToAll(h http.Header, at string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if name, ok := strings.CutSuffix(path.Base(at), ".js"); ok && !strings.Contains(at, "/vendor/") {
		h.Set("X-TypeScript-Types", "./"+name+".d.ts")
	}
}

// problem is a response of the pages where the REST side would respond in the same way
// (RFC 9457): whoever misspells a REST path ends here. Details are by language.
type problem struct {
	status int
	title  map[string]string
	detail map[string]string
}

var (
	noPath = problem{http.StatusNotFound,
		map[string]string{"en": "Not found", "es": "No encontrado"},
		map[string]string{"en": "there is no such path; /openapi.json lists all paths", "es": "no existe esa ruta; /openapi.json las enumera todas"}}
	notAllowed = problem{http.StatusMethodNotAllowed,
		map[string]string{"en": "Method not allowed", "es": "Método no permitido"},
		map[string]string{"en": "this path allows GET, HEAD", "es": "esta ruta admite GET, HEAD"}}
)

func (p problem) write(w http.ResponseWriter, language string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", language)
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(p.status)
	_, _ = fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n", p.title[language], p.status, p.detail[language])
}
