package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// DNS rebinding is an attack on listeners on loopback. One that other machines can reach has
// a name of its own.
func TestAnAdminListenerForOtherMachinesAcceptsItsName(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	namedByAddress("0.0.0.0:9091", http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://metrics.example/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d, want the handler's 404", w.Code)
	}
}
