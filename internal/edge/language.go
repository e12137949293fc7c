package edge

import (
	"net/http"

	"golang.org/x/text/language"
)

// Languages are the languages that built-in texts can be had in, as the tags of RFC 5646.
type Languages struct {
	names   []string
	matcher language.Matcher
}

// NewLanguages returns the languages called names. The first is for requests that ask for
// none of them.
func NewLanguages(names ...string) Languages {
	tags := make([]language.Tag, len(names))
	for i, n := range names {
		tags[i] = language.Make(n)
	}
	return Languages{names, language.NewMatcher(tags)}
}

// Of returns the language that r's Accept-Language asks for (RFC 9110 §12.5.4); "" of the
// zero Languages.
func (l Languages) Of(r *http.Request) string {
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
