package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/falconalert/falconbridge/internal/config"
)

type healthcheckCmd struct {
	client
	Timeout time.Duration `default:"3s" placeholder:"TIME" help:"Longest wait for the answer. Default ${default}."`
}

func (healthcheckCmd) Help() string {
	return `Example, in a Dockerfile:

    HEALTHCHECK CMD ["falconbridge", "healthcheck"]`
}

func (healthcheckCmd) scope() []string { return config.LocalHTTP }

// Run asks /readyz once.
func (h healthcheckCmd) Run(p *program) error {
	e, err := h.rest(p)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.url.JoinPath("readyz").String(), nil)
	if err != nil {
		return err
	}
	resp, err := e.http(h.Timeout).Do(req)
	if err != nil {
		return fmt.Errorf("not ready: no response from %s: %w", e.url.Host, cause(err))
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: the server answered %d", resp.StatusCode)
	}
	return nil
}

// cause is what failed beneath a client's error, which names the whole address.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		if _, deep := inner.(interface{ Timeout() bool }); !deep {
			return inner
		}
		err = inner
	}
}
