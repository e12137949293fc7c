package main

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestSIGUSR1SwitchesTheLogLevelWithoutARestart(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, with("FALCON_LOG_LEVEL", "warn"))
	for _, level := range []string{"level=DEBUG", "level=WARN", "level=DEBUG"} {
		before := strings.Count(p.Log(), level)
		if err := p.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		testserver.Eventually(t, 10*time.Second, func() error {
			if strings.Count(p.Log(), level) == before {
				return errors.New("no line with " + level)
			}
			return nil
		})
	}
	caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/notifications", nil, http.StatusOK, nil)
	testserver.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(p.Log(), "operation=listNotifications status=200") {
			return errors.New("at level debug the request is not logged")
		}
		return nil
	})
}
