package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// process is a command that runs in parallel with the test.
type process struct {
	cmd  *exec.Cmd
	done chan error
	out  buffer
	err  buffer
}

// begin starts cmd. At the end of the test it is killed if it still runs.
func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

// finish runs cmd until it ends, for at most 30 s.
func finish(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	p := begin(t, cmd)
	p.wait(t)
	return p.out.String(), p.err.String(), cmd.ProcessState.ExitCode()
}

// wait waits until the process ends, for at most 30 s.
func (p *process) wait(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		t.Fatalf("%s does not end: %s%s", p.cmd.Path, p.out.String(), p.err.String())
	}
}

// interrupt sends SIGINT and waits until the process ends.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

// says waits until the output contains that text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	testserver.Eventually(t, 20*time.Second, func() error {
		if strings.Contains(p.out.String(), text) || strings.Contains(p.err.String(), text) {
			return nil
		}
		return fmt.Errorf("no %q in %q and %q", text, p.out.String(), p.err.String())
	})
}

// json waits until the process has printed n lines of JSON, and returns them.
func (p *process) json(t *testing.T, n int) []string {
	t.Helper()
	var found []string
	testserver.Eventually(t, 20*time.Second, func() error {
		found = nil
		for _, l := range lines(p.out.String()) {
			if strings.HasPrefix(l, "{") {
				found = append(found, l)
			}
		}
		if len(found) < n {
			return fmt.Errorf("%d of %d lines: %q %q", len(found), n, p.out.String(), p.err.String())
		}
		return nil
	})
	return found
}

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
