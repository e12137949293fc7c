package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestAnIdempotencyKeyRepeatsTheResponse(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		service := tokenFor(t, "service", "notifications:write")
		const body = `{"title":"t","message":"m","created_by":1}`
		first := e.call("POST /notifications", service, body, "Idempotency-Key", "k1").want(http.StatusCreated)
		if got := first.Header().Get("Idempotency-Replayed"); got != "" {
			t.Errorf("the first response says replayed: %q", got)
		}
		second := e.call("POST /notifications", service, body, "Idempotency-Key", "k1").want(http.StatusCreated).equal(first.Body.String())
		if got := second.Header().Get("Idempotency-Replayed"); got != "true" {
			t.Errorf("Idempotency-Replayed: %q", got)
		}
		for name, again := range map[string]string{"another body": `{"title":"u","message":"m","created_by":1}`, "the same in other bytes": body + " "} {
			if p := e.call("POST /notifications", service, again, "Idempotency-Key", "k1").problem(http.StatusUnprocessableEntity); p.Type != "/problems/key-reused" {
				t.Errorf("%s: type %s", name, p.Type)
			}
		}
		if p := e.call("POST /notifications/batch", service, `{"notifications":[`+body+`]}`, "Idempotency-Key", "k1").problem(http.StatusUnprocessableEntity); p.Type != "/problems/key-reused" {
			t.Errorf("another call: type %s", p.Type)
		}
		other := tokenFor(t, "other", "notifications:write")
		e.call("POST /notifications", other, body, "Idempotency-Key", "k1").want(http.StatusCreated).
			equal(strings.NewReplacer(`"id":1`, `"id":2`, `"seq":1`, `"seq":2`).Replace(first.Body.String()))

		batch := `{"notifications":[` + body + `,{"title":"t","message":"m","created_by":"bob"}]}`
		one := e.call("POST /notifications/batch", service, batch, "Idempotency-Key", "k2").want(http.StatusCreated)
		two := e.call("POST /notifications/batch", service, batch, "Idempotency-Key", "k2").want(http.StatusCreated).equal(one.Body.String())
		if two.Header().Get("Idempotency-Replayed") != "true" {
			t.Error("the batch was not replayed")
		}
		e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":3,"unread":3,"last_seq":3}`)
	})
}

func TestABadIdempotencyKeyIsRefused(t *testing.T) {
	e := newHarness(t, sqlite(t))
	service := tokenFor(t, "service", "notifications:write")
	const body = `{"title":"t","message":"m","created_by":1}`
	for name, key := range map[string]string{"empty": "", "blank inside": "a b", "not ASCII": "clé", "too long": strings.Repeat("k", 256), "control": "a\tb"} {
		p := e.call("POST /notifications", service, body, "Idempotency-Key", key).problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != "header.Idempotency-Key" {
			t.Errorf("%s: %+v", name, p.Errors)
		}
	}
	e.call("POST /notifications", service, body, "Idempotency-Key", strings.Repeat("~", 255)).want(http.StatusCreated)
	e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":1,"unread":1,"last_seq":1}`)
}
