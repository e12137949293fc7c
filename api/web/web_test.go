package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

func fetch(t *testing.T, h http.Handler, method, target string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryResponseIsLockedDown(t *testing.T) {
	for name, target := range map[string]string{
		"the inbox":        "/",
		"a module":         "/assets/page.js",
		"the client":       "/client/index.js",
		"what is vendored": "/client/vendor/mqtt-5.16.0/mqtt.esm.js",
		"an unknown path":  "/nothing",
		"the worker":       "/worker.js",
		"the manifest":     "/manifest.webmanifest",
	} {
		t.Run(name, func(t *testing.T) {
			h := fetch(t, Handler(), "GET", target).Header
			for header, want := range map[string]string{
				"X-Content-Type-Options": "nosniff",
				"Referrer-Policy":        "no-referrer",
				"X-Frame-Options":        "DENY",
			} {
				if got := h.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			csp := strings.Split(h.Get("Content-Security-Policy"), "; ")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
				"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "manifest-src 'self'", "worker-src 'self'",
				"require-trusted-types-for 'script'", "trusted-types falconbridge"} {
				if !contains(csp, want) {
					t.Errorf("the policy lacks %q", want)
				}
			}
			if bad := regexp.MustCompile(`unsafe|\*|https?:|blob:`).FindString(strings.Join(csp, ";")); bad != "" {
				t.Errorf("the policy allows %q", bad)
			}
		})
	}
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		method, target string
		want           int
	}{
		"the inbox":                    {"GET", "/", 200},
		"head of the inbox":            {"HEAD", "/", 200},
		"a stylesheet":                 {"GET", "/assets/base.css", 200},
		"a page by its file name":      {"GET", "/assets/index.html", 404},
		"a folder":                     {"GET", "/assets/", 404},
		"a vendored folder":            {"GET", "/client/vendor/mqtt-5.16.0/", 404},
		"a path that climbs":           {"GET", "/assets/../web.go", 404},
		"an encoded path that climbs":  {"GET", "/assets/%2e%2e/web.go", 404},
		"an unknown REST path":         {"GET", "/notification", 404},
		"a form posted to the inbox":   {"POST", "/", 405},
		"an unknown method":            {"BREW", "/assets/page.js", 405},
		"a post to nowhere is unknown": {"POST", "/nothing", 404},
	} {
		t.Run(name, func(t *testing.T) {
			r := fetch(t, Handler(), tt.method, tt.target)
			if r.StatusCode != tt.want {
				t.Fatalf("status %d, want %d", r.StatusCode, tt.want)
			}
			if tt.want >= 400 && r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("an error of type %q", r.Header.Get("Content-Type"))
			}
			var doc struct{ Detail string }
			if err := json.Unmarshal([]byte(body(t, r)), &doc); tt.want >= 400 && tt.method != "HEAD" && (err != nil || doc.Detail == "") {
				t.Errorf("it says %q, without a detail (%v)", doc.Detail, err)
			}
		})
	}
}

func TestAProblemIsInTheLanguageThatIsAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		locale       bridge.Locale
		accept       string
		language     string
		title, other string // of 404 and 405
	}{
		"by default":             {"", "", "es", "No encontrado", "Método no permitido"},
		"as configured":          {bridge.English, "", "en", "Not found", "Method not allowed"},
		"as asked for":           {bridge.English, "es-AR, en;q=0.5", "es", "No encontrado", "Método no permitido"},
		"in a language it lacks": {bridge.English, "fr", "en", "Not found", "Method not allowed"},
	} {
		h := New(Options{Locale: tt.locale})
		for target, want := range map[string]string{"/nothing": tt.title, "/": tt.other} {
			r := fetch(t, h, "POST", target, "Accept-Language", tt.accept)
			var doc struct{ Title string }
			if err := json.Unmarshal([]byte(body(t, r)), &doc); err != nil || doc.Title != want || r.Header.Get("Content-Language") != tt.language {
				t.Errorf("%s: %s: %q in %q (%v), want %q in %q", name, target, doc.Title, r.Header.Get("Content-Language"), err, want, tt.language)
			}
		}
	}
}

func TestEveryAssetIsServedWithItsType(t *testing.T) {
	n := 0
	each(func(name string, want []byte) {
		n++
		if path.Ext(name) == ".html" {
			return
		}
		served := at(name)
		for page, of := range pages {
			if of == name {
				served = page
			}
		}
		r := fetch(t, Handler(), "GET", served)
		if body(t, r) != string(want) {
			t.Errorf("%s is not served as it stands", name)
		}
		if kind := r.Header.Get("Content-Type"); kind == "application/octet-stream" && path.Base(name) != "SHA256SUMS" {
			t.Errorf("%s has no content type of its own", name)
		}
	})
	if n < 10 {
		t.Fatalf("only %d files are embedded", n)
	}
}

func TestCaching(t *testing.T) {
	h := Handler()
	for name, tt := range map[string]struct{ target, want string }{
		"ours are asked for each time":   {"/assets/page.js", "no-cache"},
		"the page is asked for, too":     {"/", "no-cache"},
		"versioned paths are kept":       {"/client/vendor/mqtt-5.16.0/mqtt.esm.js", "public, max-age=31536000, immutable"},
		"an error is not kept by anyone": {"/nothing", "no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			r := fetch(t, h, "GET", tt.target)
			if got := r.Header.Get("Cache-Control"); got != tt.want {
				t.Errorf("Cache-Control %q, want %q", got, tt.want)
			}
			tag := r.Header.Get("ETag")
			if tt.want == "no-store" {
				return
			}
			if again := fetch(t, h, "GET", tt.target, "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
				t.Errorf("the same again: %d, want 304", again.StatusCode)
			}
		})
	}
}

func TestGzipHasTheSameContentAndItsOwnETag(t *testing.T) {
	const target = "/client/vendor/mqtt-5.16.0/mqtt.esm.js"
	plain := fetch(t, Handler(), "GET", target, "Accept-Encoding", "gzip;q=0, br")
	zipped := fetch(t, Handler(), "GET", target, "Accept-Encoding", "br, gzip")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("the encoding does not follow Accept-Encoding")
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("both representations bear one strong tag")
	}
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || string(got) != body(t, plain) {
		t.Errorf("unzipped it differs (%v)", err)
	}
}

func TestThePageNamesThePrefixedTopic(t *testing.T) {
	h := New(Options{Topics: bridge.Topics{Prefix: `a"b/`}})
	if got := body(t, fetch(t, h, "GET", "/")); !strings.Contains(got, `content="a&#34;b/users/{user}/reports/status"`) {
		t.Error("the topic of the page lacks the prefix, or is not escaped")
	}
}

// TestVendoredFilesMatchTheirChecksums compares third-party files with their checksums, and
// checks that no vendored file is without one.
func TestVendoredFilesMatchTheirChecksums(t *testing.T) {
	for name, dir := range map[string]string{
		"mqtt.js":  "static/client/vendor/mqtt-5.16.0",
		"axe-core": "testdata/axe-core-4.14.1",
	} {
		t.Run(name, func(t *testing.T) {
			sums, err := os.ReadFile(dir + "/SHA256SUMS")
			if err != nil {
				t.Fatal(err)
			}
			checked := map[string]bool{"SHA256SUMS": true, "README.md": true}
			for line := range strings.Lines(string(sums)) {
				want, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
				b, err := os.ReadFile(path.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != want {
					t.Errorf("%s is not the file whose checksum is kept", file)
				}
				checked[file] = true
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) < 3 {
				t.Fatalf("%d files (%v)", len(files), err)
			}
			for _, f := range files {
				if !checked[f.Name()] {
					t.Errorf("%s has no checksum", f.Name())
				}
			}
		})
	}
	if !bytes.Contains(readStatic(t, "client/vendor/mqtt-5.16.0/LICENSES.txt"), []byte("MQTT.js contributors")) {
		t.Error("the licence next to mqtt.js does not name its authors")
	}
}

func readStatic(t *testing.T, name string) []byte {
	t.Helper()
	b, err := static.ReadFile("static/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The inbox page's worker is the client's, preceded by this page's settings.
func TestTheWorkerControlsThePagesPath(t *testing.T) {
	r := fetch(t, Handler(), "GET", "/worker.js")
	text := body(t, r)
	if !strings.HasSuffix(text, string(readStatic(t, "client/worker.js"))) || !strings.Contains(text, "assets/icon-192.png") {
		t.Error("/worker.js is not the client's worker with the page's icon")
	}
	if r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("its headers are %v", r.Header)
	}
	// Tokens are in the fragments of pages' addresses. A fetch handler would see every request.
	for _, never := range []string{`"fetch"`, "onfetch", ".url)", "client.url", "page.url", "console.", "importScripts(", "XMLHttpRequest"} {
		if strings.Contains(text, never) {
			t.Errorf("it contains %s", never)
		}
	}
}

func TestThePageOffersPushesWhereTheyAreOn(t *testing.T) {
	for on, want := range map[bool]string{false: `name="falcon-push" content="false"`, true: `name="falcon-push" content="true"`} {
		if !strings.Contains(body(t, fetch(t, New(Options{Push: on}), "GET", "/")), want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// An application of any origin may import the client from here, without npm. Only the
// client is open: the pages and error responses are not.
func TestTheClientIsOpenToEveryOriginAndNothingElseIs(t *testing.T) {
	h := Handler()
	for target, open := range map[string]bool{
		"/client/index.js": true, "/client/element.js": true, "/client/react.js": true, "/client/index.d.ts": true,
		"/client/vendor/mqtt-5.16.0/mqtt.esm.js": true, "/": false, "/console": false, "/assets/page.js": false,
	} {
		r := fetch(t, h, "GET", target)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", target, r.StatusCode)
		}
		if got := r.Header.Get("Access-Control-Allow-Origin") == "*" && r.Header.Get("Cross-Origin-Resource-Policy") == "cross-origin"; got != open {
			t.Errorf("%s: open %t, want %t", target, got, open)
		}
	}
	types := fetch(t, h, "GET", "/client/index.js").Header.Get("X-TypeScript-Types")
	if r := fetch(t, h, "GET", "/client/"+strings.TrimPrefix(types, "./")); types == "" || r.StatusCode != http.StatusOK {
		t.Errorf("the types are said to be at %q", types)
	}
}

// Quotes and tags in --push-base-url stay inside the attribute into which they are written.
func TestTheInboxNamesTheBaseOfRelativeUrls(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "app.example", Path: "/inbox/", RawQuery: `a="><script>`}
	page := body(t, fetch(t, New(Options{Base: base}), "GET", "/"))
	if want := `name="falcon-base" content="https://app.example/inbox/?a=&#34;&gt;&lt;script&gt;"`; !strings.Contains(page, want) {
		t.Errorf("the page lacks %s", want)
	}
	if page := body(t, fetch(t, Handler(), "GET", "/")); !strings.Contains(page, `name="falcon-base" content=""`) {
		t.Error("without a base the page names one")
	}
}
