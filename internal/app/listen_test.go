package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Only a listener on loopback can be reached by a name that an attacker chose.
func TestAnAdminListenerForOtherMachinesMayBeNamed(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	namedByAddress("0.0.0.0:9091", http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://metrics.example/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("a listener for other machines answers %d to its name", w.Code)
	}
}
