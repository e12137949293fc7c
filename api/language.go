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
func (a *api) language(r *http.Request) bridge.Locale { return bridge.Locale(a.languages.Of(r)) }

// setLanguage sets the headers of a response with built-in texts in the language l.
func setLanguage(h http.Header, l bridge.Locale) {
	h["Content-Language"] = []string{string(l)}
	if !slices.Contains(h["Vary"], "Accept-Language") {
		h.Add("Vary", "Accept-Language")
	}
}

// Translate returns a text of a problem, which the code has in English, in the language l.
// A text without a translation stays in English; tests find those of REST, the domain and
// the tokens that lack one.
func Translate(l bridge.Locale, text string) string {
	if l != bridge.Spanish {
		return text
	}
	spanish, _ := inSpanish(text)
	return spanish
}

// inSpanish returns text in Spanish, and whether a translation exists.
func inSpanish(text string) (string, bool) {
	if text == "" {
		return "", true
	}
	if s, ok := spanishTexts[text]; ok {
		return s, true
	}
	for _, t := range spanishTemplates() {
		found := t.english.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		out := t.spanish
		for _, value := range found[1:] {
			// A value may be a text itself, such as the reason why a token is refused. A
			// number or a name has no translation and stays.
			part, _ := inSpanish(value)
			out = strings.Replace(out, "{}", part, 1)
		}
		return out, true
	}
	return text, false
}

// template is a text with values in it.
type template struct {
	english *regexp.Regexp
	spanish string
}

// spanishTemplates returns the entries of spanishTexts that have a {}, the longest first,
// because a text may match more than one.
var spanishTemplates = sync.OnceValue(func() []template {
	var out []template
	for english, spanish := range spanishTexts {
		if strings.Contains(english, "{}") {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(english), `\{\}`, "(.+)")
			out = append(out, template{regexp.MustCompile("^" + pattern + "$"), spanish})
		}
	}
	slices.SortFunc(out, func(a, b template) int { return len(b.english.String()) - len(a.english.String()) })
	return out
})
