package edge

import (
	"net/http"

	"golang.org/x/text/language"
)

// Languages are the languages that built-in texts exist in, as tags of RFC 5646. Requests get
// the best match for their Accept-Language.
type Languages struct {
	names   []string
	matcher language.Matcher
}

// NewLanguages returns the languages with these tags. The first is the default for requests that
// accept none of them.
func NewLanguages(names ...string) Languages {
	tags := make([]language.Tag, len(names))
	for i, n := range names {
		tags[i] = language.Make(n)
	}
	return Languages{names, language.NewMatcher(tags)}
}

// Of returns the language that best matches r's Accept-Language (RFC 9110 §12.5.4). For the zero
// Languages it returns "".
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
