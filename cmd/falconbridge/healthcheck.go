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
	Live    bool          `help:"Ask only whether the process is alive, not whether it is ready: what may restart a container."`
	Timeout time.Duration `default:"3s" placeholder:"TIME" help:"Longest wait for the answer. Default ${default}."`
}

func (healthcheckCmd) Help() string {
	return `Example, in a Dockerfile:

    HEALTHCHECK CMD ["falconbridge", "healthcheck", "--live"]`
}

func (healthcheckCmd) scope() []string { return config.LocalHTTP }

// Run asks /readyz once, or /healthz.
func (h healthcheckCmd) Run(p *program) error {
	e, err := h.rest(p)
	if err != nil {
		return err
	}
	path, not := "readyz", "not ready"
	if h.Live {
		path, not = "healthz", "not alive"
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.url.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := e.http(h.Timeout).Do(req)
	if err != nil {
		return fmt.Errorf("%s: no response from %s: %w", not, e.url.Host, cause(err))
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the server answered %d", not, resp.StatusCode)
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
