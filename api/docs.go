package api

import (
	"bytes"
	_ "embed" // the documents
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// The page renders both documents in the browser. It loads nothing from another host and
// runs no inline script. Its script imports assets/token.js, which Options.Pages serves.
var (
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/docs.js
	docsScript []byte
	//go:embed docs/docs.css
	docsStyle []byte

	// asyncDocument describes the MQTT side, with marks for what is configured.
	//go:embed docs/asyncapi.json
	asyncDocument []byte
)

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// addDocuments serves the OpenAPI and AsyncAPI documents and the page over them.
func (a *api) addDocuments() error {
	open, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return fmt.Errorf("write the OpenAPI document: %w", err)
	}
	async, err := a.asyncAPI()
	if err != nil {
		return err
	}
	a.file("/openapi.json", "application/json", open)
	a.file("/asyncapi.json", "application/json", async)
	a.file("/docs", "text/html; charset=utf-8", docsPage)
	a.file("/docs/docs.js", "text/javascript; charset=utf-8", docsScript)
	a.file("/docs/docs.css", "text/css; charset=utf-8", docsStyle)
	return nil
}

// file serves b, which does not change while the program runs.
func (a *api) file(path, contentType string, b []byte) {
	a.HandleFunc("GET "+path, a.metered(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b) // the caller may have gone
	}))
}

// asyncAPI puts the topic prefix and the version into the AsyncAPI document.
func (a *api) asyncAPI() ([]byte, error) {
	out := asyncDocument
	for mark, value := range map[string]string{"{prefix}": a.o.Topics.Prefix, "{version}": a.o.Version} {
		quoted, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("write the AsyncAPI document: %w", err)
		}
		out = bytes.ReplaceAll(out, []byte(mark), quoted[1:len(quoted)-1])
	}
	if !json.Valid(out) {
		return nil, fmt.Errorf("the AsyncAPI document is not valid JSON")
	}
	return out, nil
}
