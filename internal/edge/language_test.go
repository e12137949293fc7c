package edge

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheLanguageIsTheOneAskedForOrTheFirst(t *testing.T) {
	for name, tt := range map[string]struct{ accept, want string }{
		"none":                  {"", "es"},
		"English":               {"en", "en"},
		"with a region":         {"en-GB,en;q=0.9", "en"},
		"Spanish with a region": {"es-AR", "es"},
		"by weight":             {"es;q=0.4, en;q=0.8", "en"},
		"unknown ones only":     {"fr, de;q=0.5", "es"},
		"the first known one":   {"fr, en;q=0.5", "en"},
		"any":                   {"*", "es"},
		"an invalid header":     {";;;q=", "es"},
		"a very long header":    {strings.Repeat("x-", 8000) + ", en", "es"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", tt.accept)
		if got := NewLanguages("es", "en").Match(r); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
