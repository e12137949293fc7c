// Package testserver starts the real servers that tests need: Postgres, PgBouncer, Redis,
// mosquitto, and the program itself.
//
// Each server listens on a free port of loopback and keeps its files in a temporary directory.
// Servers that refuse to run as root run as the user nobody. A server ends with its test, and
// dies with the test process even if that is killed (PR_SET_PDEATHSIG). If a server is not
// installed the test fails, naming the Debian package; no test is ever skipped for that.
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

// Ports are chosen below the range of ephemeral ports, so that no outgoing connection uses one
// while a server is being restarted.
const firstPort, lastPort = 10000, 32000

// usedPorts are the ports that FreePort has returned.
var usedPorts sync.Map

// FreePort returns a port on which nothing listens on loopback. It never returns the same port
// twice.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, used := usedPorts.LoadOrStore(port, true); used {
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

// Eventually calls check until it returns nil, and fails the test if it has not after limit.
// It is for conditions of other processes, which no channel or fake clock can report.
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

// find returns the last file that matches the first matching pattern, such as the newest of
// several installed versions. pkg is the Debian package that has the file.
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

// unprivileged returns the user and group ids for servers that refuse root: the process's own
// or, if it runs as root, those of nobody.
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

// process is a running server.
type process struct {
	cmd  *exec.Cmd
	done chan error // receives the result of Wait, and is closed then
}

// spawn starts the program name in dir. Its output goes to server.log there.
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

// launch starts cmd so that it is killed when this process ends.
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
		// Pdeathsig kills the child when the thread that started it ends, not the process. So
		// this thread waits for the child. It is unlocked at the end, because a goroutine that
		// returns while locked ends its thread, which may have started other children before.
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

// stop signals the process and waits for its end. After ten seconds it kills the process and
// returns an error.
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

// listening waits until addr accepts connections. It fails if p ends first.
func listening(ctx context.Context, addr string, p *process) error {
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended while starting, see %s", filepath.Join(p.cmd.Dir, "server.log"))
		case <-ctx.Done():
			return fmt.Errorf("not listening on %s: %w", addr, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
