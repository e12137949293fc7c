// Package web serves the embedded pages: the inbox at / and the operator console at
// /console. They are plain modules and stylesheets without a build step, and load nothing
// from another host. Below /client/ it serves the built JavaScript client to applications
// of every origin.
//
// The modules in static/ are those of
//
//   - the inbox (index.html): page.js, which starts it, alerts.js and renewal.js;
//   - the console (console.html): console.js, which starts it, and a module for each section:
//     figures.js with chart.js, connections.js, person.js, explain.js, reports.js and
//     audit.js; paged.js is a list, and rest.js calls the API;
//   - both: signin.js, token.js, storage.js, confirm.js, toast.js, dom.js, and i18n.js with
//     a file of texts for each language.
package web

import (
	"cmp"
	"embed"
	"encoding/json"
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

//go:embed static
var static embed.FS

// pages are the files that are served at paths of their own: the documents, and files that
// belong next to the inbox, because a service worker controls only paths below its own. The
// JavaScript client is under /client/, everything else under /assets/.
var pages = map[string]string{
	"/":                     "index.html",
	"/console":              "console.html",
	"/manifest.webmanifest": "manifest.webmanifest",
	"/worker.js":            "worker.js",
}

// workerSettings precede the client's service worker when it serves the inbox page. They
// set its icon, and let a new version take over at once, because no open page depends on
// the old one.
const workerSettings = `self.falconbridgeIcon = "assets/icon-192.png";
self.addEventListener("install", () => self.skipWaiting());
`

// Options are the properties of this server that the pages contain.
type Options struct {
	Topics bridge.Topics // names the topics the pages subscribe to; zero: without prefix
	Locale bridge.Locale // language of the built-in texts that the server sends; empty: Spanish
	Push   bool          // Web Push is on: the inbox offers it
	Base   *url.URL      // what a notification's relative url is resolved against; nil: the page
}

// Placeholders in a page's source for what differs from server to server.
const (
	topicMark  = "users/{user}/reports/status"
	statusMark = "{status texts}"
	pushMark   = "{push}"
	baseMark   = "{base}"
)

// statusTexts returns as JSON the title and message that a report's owner receives for
// each status, with {title} in place of the report's title. The console shows them before
// a status changes.
func statusTexts(l bridge.Locale) string {
	var texts [][2]string
	for _, s := range []bridge.Status{bridge.Pending, bridge.Approved, bridge.Rejected} {
		title, message := l.StatusChanged("{title}", s)
		texts = append(texts, [2]string{title, message})
	}
	b, _ := json.Marshal(texts) // strings cannot fail
	return string(b)
}

// Handler serves the pages of a server without a topic prefix.
func Handler() http.Handler { return New(Options{}) }

// New returns the handler of the pages. It responds with 404 to an unknown path, and with
// 405 to methods other than GET and HEAD.
func New(o Options) http.Handler {
	base := ""
	if o.Base != nil {
		base = o.Base.String()
	}
	marks := strings.NewReplacer(
		topicMark, html.EscapeString(o.Topics.Prefix+topicMark),
		statusMark, html.EscapeString(statusTexts(o.Locale)),
		pushMark, strconv.FormatBool(o.Push),
		baseMark, html.EscapeString(base),
	)
	served := make(map[string]*asset)
	each(func(name string, body []byte) {
		if path.Ext(name) == ".html" {
			body = []byte(marks.Replace(string(body)))
		}
		served[at(name)] = newAsset(name, body)
		if name == client+"worker.js" {
			served["/assets/worker.js"] = newAsset(name, append([]byte(workerSettings), body...))
		}
	})
	for page, name := range pages {
		served[page] = served[at(name)]
		delete(served, at(name))
	}
	return &handler{served, api.Languages(cmp.Or(o.Locale, bridge.Spanish))}
}

const client = "client/"

// at returns the path at which an embedded file is served.
func at(name string) string {
	if strings.HasPrefix(name, client) {
		return "/" + name
	}
	return "/assets/" + name
}

// each calls f with every embedded file. Reading them does not fail, because they are part
// of the program.
func each(f func(name string, body []byte)) {
	const root = "static/"
	_ = fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			body, _ := static.ReadFile(name)
			f(strings.TrimPrefix(name, root), body)
		}
		return err
	})
}

// handler serves files by their paths.
type handler struct {
	served    map[string]*asset
	languages edge.Languages // of problems
}

// language returns the language of a problem in the response to r.
func (h *handler) language(r *http.Request) bridge.Locale { return bridge.Locale(h.languages.Match(r)) }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	if strings.HasPrefix(r.URL.Path, "/"+client) {
		openToAll(w.Header(), r.URL.Path)
	}
	a, ok := h.served[r.URL.Path]
	switch {
	case !ok:
		noPath.write(w, h.language(r))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		notAllowed.write(w, h.language(r))
	default:
		a.serve(w, r)
	}
}
