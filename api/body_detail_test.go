package api

import (
	"net/http"
	"strings"
	"testing"
)

// If the detail only repeated the title, the caller would have to guess the limit.
func TestARefusedBodyNamesTheLimitOrTheHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		length int64
		media  string
		want   string
	}{
		"too long":     {MaxBody + 1, "application/json", "more than 262144 bytes"},
		"another type": {2, "text/plain", "the Content-Type must be application/json"},
	} {
		r := &http.Request{ContentLength: tt.length, Header: http.Header{"Content-Type": {tt.media}}}
		err := checkBody(r, &rule{maxBody: MaxBody})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
