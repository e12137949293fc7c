package main

import (
	"net/http"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Who reads a history leaves one entry a minute, by whatever way.
func TestAReaderIsInTheAuditLogOverMQTTAsOverREST(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			_ = traces(t, p, "1", "own")
			_ = traces(t, p, "+", "operator") // as root
			rest := caller{base: p.HTTP, token: sign(t, "root", bridge.ScopeRead)}
			rest.do(t, "GET", "/users/7/notifications", nil, http.StatusOK, nil)
			var entries []struct{ Sub, User, Action, Remote, Detail any }
			caller{base: p.HTTP, token: sign(t, "auditor", bridge.ScopeAdmin)}.do(t, "GET", "/admin/audit", nil, http.StatusOK, &entries)
			if len(entries) != 2 || entries[0].User != 7.0 || entries[1].User != nil || entries[1].Detail != "SUBSCRIBE users/+/reports/status" {
				t.Errorf("the log has %+v", entries)
			}
			for _, e := range entries {
				if e.Sub != "root" || e.Action != "history.read" || e.Remote != "127.0.0.1" {
					t.Errorf("an entry is %+v", e)
				}
			}
		})
	}
}
