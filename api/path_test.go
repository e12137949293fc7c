package api

import (
	"net/http"
	"testing"
)

// A URL client turns /admin/users/./connections into /admin/users/connections, which
// erases the user "connections". The ids "." and ".." are refused everywhere, and a
// client that sends such a path unchanged gets no redirect.
func TestDotsAsAUserIDNeverReachAnotherCall(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "1", "admin")
		e.notify("connections", "n")
		for _, dots := range []string{".", "..", "%2e", "%2E%2e", ".%2e"} {
			for _, at := range []string{"DELETE /admin/users/" + dots + "/connections", "DELETE /admin/users/" + dots, "GET /users/" + dots + "/notifications"} {
				if a := e.call(at, admin, ""); a.Code != http.StatusNotFound && a.Code != http.StatusUnprocessableEntity || a.Header().Get("Location") != "" {
					t.Errorf("%s: %d, Location %q", at, a.Code, a.Header().Get("Location"))
				}
			}
		}
		for _, at := range []string{"DELETE /admin//users/connections", "DELETE /admin/users//connections", "DELETE /admin/./users/connections", "DELETE /x/../admin/users/connections"} {
			e.call(at, admin, "").problem(http.StatusNotFound)
		}
		for at, body := range map[string]string{
			"POST /notifications":          `{"title":"t","message":"m","created_by":"."}`,
			"POST /notifications/batch":    `{"notifications":[{"title":"t","message":"m","created_by":".."}]}`,
			"POST /reports":                `{"title":"t","created_by":".."}`,
			"POST /admin/revocations":      `{"user":"."}`,
			"GET /admin/connections?user=": "",
		} {
			if body == "" {
				at += ".."
			}
			e.call(at, admin, body).problem(http.StatusUnprocessableEntity)
		}
		if a := e.call("GET /users/connections/notifications", admin, ""); a.Code != http.StatusOK || a.Body.Len() < 10 {
			t.Errorf("the user connections has lost the inbox: %d %s", a.Code, a.Body.String())
		}
	})
}
