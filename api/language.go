package api

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Languages returns the languages of built-in texts. The first is for requests whose
// Accept-Language asks for none of them.
func Languages(first bridge.Locale) edge.Languages {
	names := []string{string(first)}
	for _, l := range bridge.Locales() {
		if l != first {
			names = append(names, string(l))
		}
	}
	return edge.NewLanguages(names...)
}

// language returns the language of built-in texts in the response to r: the one that its
// Accept-Language asks for, otherwise Options.Locale.
func (a *api) language(r *http.Request) bridge.Locale { return bridge.Locale(a.languages.Match(r)) }

// setLanguage sets the headers of a response with built-in texts in the language l.
func setLanguage(h http.Header, l bridge.Locale) {
	h["Content-Language"] = []string{string(l)}
	if !slices.Contains(h["Vary"], "Accept-Language") {
		h.Add("Vary", "Accept-Language")
	}
}

// translations has the texts of problems in each language, by their English ones, which the
// code uses. A language is one line here and a file such as spanish.go; English needs neither.
var translations = map[bridge.Locale]*translation{
	bridge.Spanish: {texts: spanishTexts},
}

// Translate returns a text of a problem, which the code has in English, in the language l.
// A text without a translation stays in English; tests find those of REST, the domain and
// the tokens that lack one.
func Translate(l bridge.Locale, text string) string {
	translated, _ := translate(l, text)
	return translated
}

// translate is like Translate, and reports whether a translation exists.
func translate(l bridge.Locale, text string) (string, bool) {
	if l == bridge.English || text == "" {
		return text, true
	}
	if t := translations[l]; t != nil {
		return t.of(text)
	}
	return text, false
}

// translation has the texts of one language.
type translation struct {
	texts map[string]string // by the English text. {} stands for a value

	once      sync.Once
	templates []template // see compile
}

// template is a text with values in it.
type template struct {
	english    *regexp.Regexp
	translated string
}

// of returns the translation of text, and whether it exists.
func (t *translation) of(text string) (string, bool) {
	if s, ok := t.texts[text]; ok {
		return s, true
	}
	t.once.Do(t.compile)
	for _, template := range t.templates {
		found := template.english.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		out := template.translated
		for _, value := range found[1:] {
			// A value may be a text itself, such as the reason why a token is refused. A
			// number or a name has no translation and stays.
			part, _ := t.of(value)
			out = strings.Replace(out, "{}", part, 1)
		}
		return out, true
	}
	return text, false
}

// compile sets templates to the entries of texts that have a {}, the longest first, because
// a text may match more than one.
func (t *translation) compile() {
	for english, translated := range t.texts {
		if strings.Contains(english, "{}") {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(english), `\{\}`, "(.+)")
			t.templates = append(t.templates, template{regexp.MustCompile("^" + pattern + "$"), translated})
		}
	}
	slices.SortFunc(t.templates, func(a, b template) int { return len(b.english.String()) - len(a.english.String()) })
}
