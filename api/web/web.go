// Package web serves the embedded pages: the inbox at / and the operator console
// at /console. They are plain modules and stylesheets, served as they stand in
// the tree: no build step, and nothing is loaded from another host.
package web

import (
	"embed"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
)

//go:embed static
var static embed.FS

// pages are the documents, by the path they are served at. Everything else lies
// under /assets/.
var pages = map[string]string{
	"/":        "index.html",
	"/console": "console.html",
}

// Options tell the pages where things are.
type Options struct {
	Topics bridge.Topics // names the topics the pages subscribe to; zero: without prefix
}

// topicMark is what a page's source holds in the place of the topic.
const topicMark = "users/{user}/reports/status"

// Handler serves the pages of a server without a topic prefix.
func Handler() http.Handler { return New(Options{}) }

// New serves the pages. Paths that are none are answered with 404, methods other
// than GET and HEAD with 405.
func New(o Options) http.Handler {
	topic := html.EscapeString(o.Topics.Prefix + topicMark)
	served := make(handler)
	each(func(name string, body []byte) {
		if path.Ext(name) == ".html" {
			body = []byte(strings.ReplaceAll(string(body), topicMark, topic))
		}
		served["/assets/"+name] = newAsset(name, body)
	})
	for at, name := range pages {
		served[at] = served["/assets/"+name]
		delete(served, "/assets/"+name)
	}
	return served
}

// each calls f with every embedded file. The files are part of the program, so
// reading them does not fail; the tests fetch each one.
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

type handler map[string]*asset

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	a, ok := h[r.URL.Path]
	if !ok {
		problem(w, http.StatusNotFound, "no such path")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
		return
	}
	a.serve(w, r)
}
