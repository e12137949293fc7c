package api

import (
	"net/http"
	"strings"
	"testing"
)

// The mark is invisible in editors: an error that names only "byte 0" does not help.
func TestABodyWithAByteOrderMarkIsRefusedByName(t *testing.T) {
	e := newHarness(t, sqlite(t))
	draft := `{"created_by":1,"title":"t","message":"m"}`
	for name, body := range map[string]string{
		"UTF-8":               "\xef\xbb\xbf" + draft,
		"UTF-16LE":            "\xff\xfe{\x00}\x00",
		"UTF-16BE":            "\xfe\xff\x00{\x00}",
		"UTF-8, nothing else": "\xef\xbb\xbf",
	} {
		for _, path := range []string{"/notifications", "/notifications/batch", "/reports"} {
			p := e.call("POST "+path, tokenFor(t, "app", "admin"), body).problem(http.StatusBadRequest)
			if !strings.Contains(p.Detail, "byte order mark") {
				t.Errorf("%s to %s: %q", name, path, p.Detail)
			}
		}
	}
}
