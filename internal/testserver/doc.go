// Package testserver starts the real servers the tests need: Postgres, Redis,
// mosquitto, Chromium, and the built program. Each listens on a free port of
// loopback, keeps its files in a temporary folder, runs as an unprivileged user
// where it refuses root, and dies with the test process, even a killed one
// (PR_SET_PDEATHSIG). A missing server fails the test and names the Debian
// package; nothing is ever skipped.
package testserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Ports are given out below the range that outgoing connections take theirs from,
// and each once a process: a server that is restarted finds its port free.
const firstPort, lastPort = 10000, 32000

var given sync.Map

// FreePort returns a port of loopback that nothing listens on now.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port of loopback is free")
	return 0
}

// Eventually waits until check returns nil, at most limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %v", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// find returns the first existing file of the patterns.
func find(t testing.TB, pkg string, patterns ...string) string {
	t.Helper()
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Fatalf("%s is not installed: run .ci/packages", pkg)
	return ""
}

// unprivileged returns the ids servers run under: the process's own, or those of
// the user nobody where the process is root.
func unprivileged() (uid, gid int, err error) {
	if os.Getuid() != 0 {
		return os.Getuid(), os.Getgid(), nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// process is one running server.
type process struct {
	cmd  *exec.Cmd
	done chan error
}

// spawn starts name, which writes to server.log in dir.
func spawn(dir string, asNobody bool, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	return launch(cmd, asNobody)
}

// launch starts cmd; the child dies with the thread that started it, so it is
// started from a thread that lives as long as the process.
func launch(cmd *exec.Cmd, asNobody bool) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if asNobody && os.Getuid() == 0 {
		uid, gid, err := unprivileged()
		if err != nil {
			return nil, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	started := make(chan error)
	go func() {
		// Pdeathsig watches the thread, and this one waits. It is given back: a thread
		// that ends takes the children with it that it started before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.done <- cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// stop signals the process and waits for its end, at most ten seconds.
func (p *process) stop(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.New("the server did not stop in 10 s and was killed")
	}
}

// listening waits until addr accepts connections.
func listening(ctx context.Context, addr string, p *process) error {
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended at its start, see %s", filepath.Join(p.cmd.Dir, "server.log"))
		case <-ctx.Done():
			return fmt.Errorf("not listening on %s: %w", addr, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
