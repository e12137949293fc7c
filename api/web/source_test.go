package web

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// ownFiles calls f with every file that is not vendored.
func ownFiles(f func(name, text string)) {
	each(func(name string, b []byte) {
		if !strings.HasPrefix(name, client+"vendor/") {
			f(name, string(b))
		}
	})
}

// TestSourcesKeepToThePolicy looks for what the policy would refuse in a browser,
// and for what it cannot detect.
func TestSourcesKeepToThePolicy(t *testing.T) {
	rules := []struct{ where, what, why string }{
		{`\.html$`, `(?i)<script(?:\s[^>]*)?>[^<]`, "a script inside the page"},
		{`\.html$`, `(?i)<style|\sstyle\s*=`, "a style inside the page"},
		{`\.html$`, `(?i)\son[a-z]+\s*=`, "a handler inside the page"},
		{`\.html$`, `(?i)javascript:`, "a javascript: address"},
		{`\.js$`, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTMLUnsafe`, "text read as markup"},
		{`\.js$`, `\beval\(|new Function|setTimeout\(\s*["'\x60]`, "text run as code"},
		{`\.js$`, `localStorage|document\.cookie|indexedDB`, "a store that outlives the tab"},
		{`\.js$`, `\bconsole\.(?:log|error|warn|info|debug|trace)`, "a log, which could reveal a token or a text"},
		{`\.css$`, `@import|url\(`, "another file from a stylesheet"},
	}
	files := 0
	ownFiles(func(name, text string) {
		files++
		for _, r := range rules {
			if !regexp.MustCompile(r.where).MatchString(name) {
				continue
			}
			// The client keeps a client id and a user id for pushes, never a token.
			if name == client+"push.js" && r.why == "a store that outlives the tab" {
				continue
			}
			if found := regexp.MustCompile(r.what).FindString(text); found != "" {
				t.Errorf("%s contains %s: %q", name, r.why, found)
			}
		}
	})
	if files < 10 {
		t.Fatalf("only %d files were read", files)
	}
}

func TestNoAssetNamesAnotherHost(t *testing.T) {
	host := regexp.MustCompile(`(?:https?|wss?):?//[a-zA-Z0-9.-]+|["'(]//[a-z]`)
	// The names of XML namespaces are compared, never fetched.
	allowed := []string{"http://www.w3.org"}
	// The client's comments show how an application calls it.
	comment := regexp.MustCompile(`(?m)^\s*(?:/\*)?\*.*"https://falcon\.example".*$`)
	ownFiles(func(name, text string) {
		if strings.Contains(name, "client/") {
			text = comment.ReplaceAllString(text, "")
		}
		for _, found := range host.FindAllString(text, -1) {
			if !slices.Contains(allowed, found) {
				t.Errorf("%s names %s", name, found)
			}
		}
	})
	// In the vendored bundle, addresses are only in its licence comments.
	code := string(readStatic(t, client+"vendor/mqtt-5.16.0/mqtt.esm.js"))
	code, _, _ = strings.Cut(code, "/*! Bundled license information")
	if found := regexp.MustCompile(`https?://[a-zA-Z0-9.-]+\.[a-z]{2,}`).FindString(code); found != "" {
		t.Errorf("the bundle names %s", found)
	}
}

// A language is one entry in bridge/text.go, one file of texts and one line of i18n.js. It
// has the texts of English, in the same order.
func TestThePagesHaveEveryTextInEveryLocale(t *testing.T) {
	key := regexp.MustCompile(`(?m)^  ([a-zA-Z0-9_]+):`)
	keys := func(l bridge.Locale) []string {
		name := "static/text-" + string(l) + ".js"
		b, err := static.ReadFile(name)
		if err != nil {
			t.Fatalf("bridge.Locales() has %q: add its texts in api/web/%s", l, name)
		}
		var list []string
		for _, m := range key.FindAllStringSubmatch(string(b), -1) {
			list = append(list, m[1])
		}
		return list
	}
	en := keys(bridge.English)
	if len(en) < 40 {
		t.Fatalf("only %d texts were read", len(en))
	}
	list := string(readStatic(t, "i18n.js"))
	for _, l := range bridge.Locales() {
		if got := keys(l); !slices.Equal(en, got) {
			t.Errorf("text-%s.js differs from text-en.js in names or order:\n%v\n%v", l, en, got)
		}
		if !regexp.MustCompile(`(?m)^  ` + string(l) + `: \{ name: "[^"]+", texts: ` + string(l) + ` \},$`).MatchString(list) {
			t.Errorf("bridge.Locales() has %q: add it to languages in api/web/static/i18n.js", l)
		}
	}
	used := regexp.MustCompile(`(?:data-(?:t|label|hint)="|\bt\(")([a-zA-Z0-9]+)"`)
	ownFiles(func(name, text string) {
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(en, m[1]) {
				t.Errorf("%s uses the text %q, which does not exist", name, m[1])
			}
		}
	})
}

// The page shows the client's inbox, which would be in English for a language that the
// client does not have.
func TestTheClientHasEveryLocale(t *testing.T) {
	const words = "clients/js/src/words.ts"
	source, err := os.ReadFile(filepath.Join("..", "..", words))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^const languages = byLanguage\(\{ (.+) \}\)`)
	for name, text := range map[string][]byte{words: source, "api/web/static/client/words.js": readStatic(t, client+"words.js")} {
		m := list.FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no list of languages", name)
		}
		have := strings.Split(string(m[1]), ", ")
		for _, l := range bridge.Locales() {
			if !slices.Contains(have, string(l)) {
				t.Errorf("bridge.Locales() has %q, but %s has %v: add it to languages in %s, then run npm run serve in clients/js", l, name, have, words)
			}
		}
	}
}

func TestThePackageCommentListsEveryModule(t *testing.T) {
	source, err := os.ReadFile("web.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(source), "\npackage web\n")
	ownFiles(func(name, _ string) {
		if path.Ext(name) == ".js" && path.Dir(name) == "." && !strings.HasPrefix(name, "text-") && !strings.Contains(comment, name) {
			t.Errorf("the comment of package web does not say which page %s belongs to", name)
		}
	})
}

func TestPagesLoadOnlyWhatIsServed(t *testing.T) {
	ref := regexp.MustCompile(`(?:href|src)="(assets/[^"]+)"`)
	imported := regexp.MustCompile(`(?:from|import\(|new URL\()\s*"(\.\.?/[^"]+)"`)
	served := Handler().(*handler).served
	ownFiles(func(name, text string) {
		var wanted []string
		for _, m := range ref.FindAllStringSubmatch(text, -1) {
			wanted = append(wanted, "/"+m[1])
		}
		for _, m := range imported.FindAllStringSubmatch(text, -1) {
			wanted = append(wanted, path.Join(path.Dir(at(name)), m[1]))
		}
		for _, w := range wanted {
			if served[w] == nil {
				t.Errorf("%s loads %s, which is not served", name, w)
			}
		}
	})
}

func TestNoFileIsTooLong(t *testing.T) {
	ownFiles(func(name, text string) {
		if n := strings.Count(text, "\n"); n > 700 {
			t.Errorf("%s has %d lines", name, n)
		}
	})
}
