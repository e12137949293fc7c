package edge

import (
	"net/http"

	"golang.org/x/text/language"
)

// Languages are the languages in which built-in texts exist. The zero value has none.
type Languages struct {
	names   []string // tags of RFC 5646
	matcher language.Matcher
}

// NewLanguages returns the languages with these tags of RFC 5646. The first is the default for
// requests that accept none of them.
func NewLanguages(names ...string) Languages {
	tags := make([]language.Tag, len(names))
	for i, n := range names {
		tags[i] = language.Make(n)
	}
	return Languages{names, language.NewMatcher(tags)}
}

// Match returns the tag of the language that best matches r's Accept-Language (RFC 9110 §12.5.4). For
// the zero Languages it returns "".
func (l Languages) Match(r *http.Request) string {
	if len(l.names) == 0 {
		return ""
	}
	accept := r.Header.Get("Accept-Language")
	if accept == "" {
		return l.names[0]
	}
	_, i := language.MatchStrings(l.matcher, accept)
	return l.names[i]
}
