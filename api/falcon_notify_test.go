package api

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/falconalert/falconbridge/bridge/drafttest"
)

// The cases are those of db's test of falcon_notify.
func TestTheAPIAcceptsWhatFalconNotifyAccepts(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		service := tokenFor(t, "s", "notifications:write")
		for name, c := range drafttest.Cases() {
			body := map[string]any{"created_by": c.User, "title": c.Title, "message": c.Message, "kind": c.Kind}
			if c.Data != "" {
				body["data"] = json.RawMessage(c.Data)
			}
			if c.URL != "" {
				body["url"] = c.URL
			}
			if c.Replaces != "" {
				body["replaces"] = c.Replaces
			}
			if c.ExpiresIn != nil {
				body["expires_in"] = *c.ExpiresIn
			}
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			got := e.call("POST /notifications", service, string(b)).Code
			if c.Good && got != http.StatusCreated || !c.Good && got != http.StatusUnprocessableEntity && got != http.StatusBadRequest {
				t.Errorf("%s: %d, want it taken: %v", name, got, c.Good)
			}
		}
	})
}
