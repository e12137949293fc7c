package api

import (
	"context"
	"net/http"
)

// alive answers as long as the process does.
func (a *api) alive(_ context.Context, c *call) error {
	return c.json(http.StatusOK, healthBody{"ok"})
}

// ready answers 503 while the database or the bus is away, and during a drain:
// a load balancer then sends nobody here. Why, only the log and the metrics say:
// anyone may ask.
func (a *api) ready(ctx context.Context, c *call) error {
	if a.o.Ready != nil {
		if err := a.o.Ready(ctx); err != nil {
			return &problem{kind: unavailable, detail: "the node is not ready"}
		}
	}
	return c.json(http.StatusOK, healthBody{"ready"})
}

type healthBody struct {
	Status string `json:"status" enum:"ok,ready" example:"ok"`
}
