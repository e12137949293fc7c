package testserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a running Redis, mosquitto or PgBouncer.
type Server struct {
	URL  string
	Addr string

	dir      string
	args     []string
	asNobody bool
	run      *process
}

// NewRedis starts a Redis for one test.
func NewRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	port := FreePort(t)
	s := &Server{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port), Addr: fmt.Sprintf("127.0.0.1:%d", port), dir: t.TempDir()}
	s.args = append([]string{find(t, "redis-server", "/usr/bin/redis-server"),
		"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}, args...)
	s.begin(t)
	return s
}

// NewMosquitto starts a mosquitto with persistence, for one test. conf is added to its
// configuration.
func NewMosquitto(t testing.TB, conf string) *Server {
	t.Helper()
	port := FreePort(t)
	s := &Server{URL: fmt.Sprintf("mqtt://127.0.0.1:%d", port), Addr: fmt.Sprintf("127.0.0.1:%d", port), dir: t.TempDir()}
	file := filepath.Join(s.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\npersistence true\npersistence_location %s/\nuser root\n%s\n", port, s.dir, conf)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{find(t, "mosquitto", "/usr/sbin/mosquitto"), "-c", file}
	s.begin(t)
	return s
}

func (s *Server) begin(t testing.TB) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.run != nil {
			_ = s.run.stop(syscall.SIGTERM)
		}
	})
}

// Start starts the stopped server on its former port.
func (s *Server) Start() error {
	p, err := spawn(s.dir, s.asNobody, s.args[0], s.args[1:]...)
	if err != nil {
		return err
	}
	s.run = p
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return listening(ctx, s.Addr, p)
}

// Stop ends the server by SIGTERM.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server by SIGKILL.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	p := s.run
	s.run = nil
	return p.stop(sig)
}

// Chromium returns the path of the browser Chromium.
func Chromium(t testing.TB) string { return find(t, "chromium", "/usr/bin/chromium") }

// MosquittoSub returns the path of mosquitto_sub.
func MosquittoSub(t testing.TB) string { return find(t, "mosquitto-clients", "/usr/bin/mosquitto_sub") }

// Binary returns the path of the program, which it builds once per process.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "falcon-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "falconbridge")
	// It is built in the directory of its own module. Tests of another module, such as bench,
	// would otherwise build it with the dependencies of that module.
	args := append([]string{"build", "-C", repository(), "-o", path}, raceFlag...)
	if out, err := exec.Command("go", append(args, "./cmd/falconbridge")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return path, nil
})

// previous is what a rollback goes back to: the last release or, until there is one, a commit
// in its place.
const previous = "e1e9043"

// PreviousBinary returns the path of the previous release, which it builds from this
// repository's history once per process.
func PreviousBinary(t testing.TB) string {
	t.Helper()
	path, err := builtPrevious()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var builtPrevious = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "falcon-bin-")
	if err != nil {
		return "", err
	}
	source, err := os.MkdirTemp("", "falcon-previous-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(source) }()
	path := filepath.Join(dir, "falconbridge-"+previous)
	script := fmt.Sprintf("git -C %s archive %s | tar -x -C %s && cd %s && go build -o %s ./cmd/falconbridge", repository(), previous, source, source, path)
	if out, err := exec.Command("bash", "-o", "pipefail", "-c", script).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the previous release: %w: %s", err, out)
	}
	return path, nil
})

// repository returns the root directory of this repository.
func repository() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../..")
}

// PID returns the process id of the running server.
func (s *Server) PID() int { return s.run.cmd.Process.Pid }
