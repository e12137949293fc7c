package api

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestSuccessAndErrorsAreInOneLanguage(t *testing.T) {
	e := newHarness(t, sqlite(t))
	english := newHarness(t, sqlite(t), func(o *Options) { o.Locale = bridge.English })
	admin := tokenFor(t, "root", "admin")
	for name, tt := range map[string]struct {
		on               *harness
		accept, language string
	}{
		"as configured":                   {e, "", "es"},
		"as configured, English":          {english, "", "en"},
		"as asked for":                    {e, "en-GB, en;q=0.9", "en"},
		"as asked for, Spanish":           {english, "es-AR", "es"},
		"another language: as configured": {e, "fr", "es"},
		"another language, English":       {english, "fr, de", "en"},
	} {
		texts := map[string][]string{
			"es": {"Notificación creada correctamente", "Algunos campos no son válidos", "es obligatorio", "no existe esa ruta", "esta ruta admite", "No encontrado"},
			"en": {"Notification created", "Some fields are invalid", "is required", "there is no such path", "this path allows", "Not found"},
		}[tt.language]
		speak := func(at, raw, body string, status int, text string) {
			t.Helper()
			a := tt.on.call(at, raw, body, "Accept-Language", tt.accept).want(status)
			if !strings.Contains(a.Body.String(), text) {
				t.Errorf("%s: %s says %s, want %q in it", name, at, a.Body, text)
			}
			if got := a.Header().Get("Content-Language"); got != tt.language {
				t.Errorf("%s: %s has Content-Language %q, want %q", name, at, got, tt.language)
			}
			if !slices.Contains(a.Header()["Vary"], "Accept-Language") {
				t.Errorf("%s: %s does not vary with Accept-Language", name, at)
			}
		}
		speak("POST /notifications", admin, `{"title":"t","message":"m","created_by":7}`, http.StatusCreated, texts[0])
		speak("POST /notifications", admin, `{"title":"t","message":"m"}`, http.StatusUnprocessableEntity, texts[1])
		speak("POST /notifications", admin, `{"title":"t","message":"m"}`, http.StatusUnprocessableEntity, texts[2])
		speak("GET /notifications/x/y/z", admin, "", http.StatusNotFound, texts[3])
		speak("PUT /notifications", admin, "", http.StatusMethodNotAllowed, texts[4])
		speak("GET /problems/not-found", "", "", http.StatusOK, texts[5])
	}
}

// Programs branch on these, so they are the same in every language.
func TestTypesLocationsAndCodesDoNotDependOnTheLanguage(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for _, accept := range []string{"es", "en"} {
		p := e.call("POST /notifications?strict=1", tokenFor(t, "root", "admin"), `{"title":"","message":"m","titel":1}`, "Accept-Language", accept).problem(http.StatusUnprocessableEntity)
		codes := map[string]string{}
		for _, f := range p.Errors {
			codes[f.Location] = f.Code
		}
		if p.Type != "/problems/invalid" || codes["body.created_by"] != "required" || codes["body.title"] != "required" || codes["body.titel"] != "unknown" {
			t.Errorf("%s: %+v", accept, p)
		}
		p = e.call("GET /notifications?limit=0", tokenFor(t, "7"), "", "Accept-Language", accept).problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != "query.limit" || p.Errors[0].Code != "invalid" {
			t.Errorf("%s: %+v", accept, p)
		}
	}
}

// Without a translation, a response says Content-Language: fr and is in English.
func TestRESTHasATranslationForEveryLocale(t *testing.T) {
	for _, l := range bridge.Locales() {
		if l != bridge.English && (translations[l] == nil || len(translations[l].texts) < 100) {
			t.Errorf("bridge.Locales() has %q: write its texts in a file next to api/spanish.go, and add them to translations in api/language.go", l)
		}
	}
	for l := range translations {
		if !slices.Contains(bridge.Locales(), l) {
			t.Errorf("api/language.go has %q, but textTable in bridge/text.go does not", l)
		}
	}
}

// untranslated returns the locales of REST that lack a translation of text.
func untranslated(text string) (missing []bridge.Locale) {
	for l := range translations {
		if _, ok := translate(l, text); !ok {
			missing = append(missing, l)
		}
	}
	return missing
}

// Every problem that the corpus causes has all its texts in every language.
func TestEveryProblemIsTranslated(t *testing.T) {
	e := newHarness(t, sqlite(t), func(o *Options) { o.Locale = bridge.English })
	admin, seen := tokenFor(t, "7", "admin"), map[string]bool{}
	known := func(text string) {
		if missing := untranslated(text); len(missing) > 0 && !seen[text] {
			t.Errorf("%q lacks a text in %v", text, missing)
		}
		seen[text] = true
	}
	for part, requests := range corpus() {
		raw := admin
		switch part {
		case "5 own":
			raw = tokenFor(t, "7")
		case "6 no token":
			raw = ""
		}
		for _, r := range requests {
			a := e.call(r.at, raw, r.body, append([]string{"X-Test", part}, r.headers...)...)
			if a.Header().Get("Content-Type") != problemType {
				continue
			}
			var p problemBody
			a.into(&p)
			known(p.Title)
			for _, f := range p.Errors {
				known(f.Message)
			}
			if len(p.Errors) == 0 {
				known(p.Detail)
			}
		}
	}
	for _, k := range problemKinds {
		known(k.title)
		known(k.about)
	}
	if len(seen) < 60 {
		t.Errorf("only %d texts were seen", len(seen))
	}
}

// messageFiles returns the sources of the texts that a problem can have.
func messageFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	trees := map[string]*ast.File{}
	for _, file := range testserver.Sources(t, "*.go", "../bridge/*.go", "../bridge/token/*.go", "../bridge/push/guard.go",
		"../db/append.go", "../db/errors.go", "../internal/edge/proxy.go") {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !hasTranslations(tree) {
			trees[file] = tree
		}
	}
	return trees
}

// hasTranslations reports whether the file is one such as spanish.go, whose only declaration
// is a variable such as spanishTexts.
func hasTranslations(file *ast.File) bool {
	if len(file.Decls) != 1 {
		return false
	}
	d, ok := file.Decls[0].(*ast.GenDecl)
	return ok && d.Tok == token.VAR && strings.HasSuffix(d.Specs[0].(*ast.ValueSpec).Names[0].Name, "Texts")
}

// textOf returns the text of e with {} in place of each value: "the scope " + name and
// "the scope %s" are "the scope {}". It returns "" where e is not a text.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if e.Kind != token.STRING || err != nil {
			return ""
		}
		return strings.NewReplacer("%d", "{}", "%s", "{}", "%v", "{}", "%.0f", "{}").Replace(text)
	case *ast.BinaryExpr:
		left, right := textOf(e.X), textOf(e.Y)
		if e.Op != token.ADD || left == "" && right == "" {
			return ""
		}
		return cmp.Or(left, "{}") + cmp.Or(right, "{}")
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && len(e.Args) > 0 && (f.Sel.Name == "Sprintf" || f.Sel.Name == "Errorf" || f.Sel.Name == "New") {
			return textOf(e.Args[0])
		}
	}
	return ""
}

// Messages that the corpus does not cause are found in the sources: those of faults, and
// the details of problems.
func TestEveryMessageInTheSourcesIsTranslated(t *testing.T) {
	texts := 0
	for file, tree := range messageFiles(t) {
		known := func(e ast.Expr) {
			text := textOf(e)
			if text == "" {
				return
			}
			texts++
			if missing := untranslated(strings.ReplaceAll(text, "{}", "7")); len(missing) > 0 {
				t.Errorf("%s: %q lacks a text in %v", file, text, missing)
			}
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch f := n.Fun.(type) {
				case *ast.Ident:
					if f.Name == "invalid" && len(n.Args) == 1 {
						known(n.Args[0]) // why a token is refused
					}
				case *ast.SelectorExpr:
					x, ok := f.X.(*ast.Ident)
					if ok && len(n.Args) > 1 && slices.Contains([]string{"bad", "params", "d"}, x.Name) &&
						slices.Contains([]string{"Add", "fault", "refuse", "note", "integer"}, f.Sel.Name) {
						known(n.Args[len(n.Args)-1])
					}
				}
				if text := textOf(n); strings.HasPrefix(text, "must ") || strings.HasPrefix(text, "a user id ") {
					known(n) // an error that becomes a message
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "detail" {
					known(n.Value)
				}
			}
			return true
		})
	}
	if texts < 90 {
		t.Errorf("only %d texts were found", texts)
	}
}

// A translation whose English text was changed or removed would never be used.
func TestEveryTranslationHasItsEnglishInTheSources(t *testing.T) {
	english := map[string]bool{"the token is not valid: {}": true} // put together by package token
	for _, tree := range messageFiles(t) {
		ast.Inspect(tree, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				english[textOf(e)] = true
			}
			return true
		})
	}
	for l, tr := range translations {
		for text := range tr.texts {
			if !english[text] {
				t.Errorf("%s: no source says %q", l, text)
			}
		}
	}
}

// A text and its translation have the same number of values.
func TestEveryTranslationHasTheValuesOfTheEnglish(t *testing.T) {
	for l, tr := range translations {
		for english, translated := range tr.texts {
			if strings.Count(english, "{}") != strings.Count(translated, "{}") {
				t.Errorf("%s: %q has other values than %q", l, translated, english)
			}
		}
	}
}

// A header that is crafted to be slow or long to parse is read like any other.
func TestAnEndlessAcceptLanguageIsHarmless(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for _, accept := range []string{strings.Repeat("en-", 5000), strings.Repeat("a,", 7000), "en\x00", "*;q=NaN", strings.Repeat("en;q=0.5,", 1500)} {
		r := httptest.NewRequest("GET", "/nothing", nil)
		r.Header["Accept-Language"] = []string{accept}
		w := httptest.NewRecorder()
		e.handler.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Language"); w.Code != http.StatusNotFound || got != "es" && got != "en" {
			t.Errorf("%.20q: %d in %q", accept, w.Code, got)
		}
	}
}
