package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is the falconbridge program, built from this repository and running on free ports of
// loopback. Without a key in its environment it runs in development mode.
type Program struct {
	HTTP  string // http://127.0.0.1:port
	WS    string // ws://127.0.0.1:port/mqtt
	MQTT  string // 127.0.0.1:port
	Admin string // http://127.0.0.1:port
	Dir   string // its data dir

	binary   string
	args     []string
	env      []string
	run      *process
	out, log transcript
}

// NewProgram starts the program for one test, with args after those for its addresses and with
// env, and waits until it is ready. At the end of the test it is stopped by SIGTERM.
func NewProgram(t testing.TB, env map[string]string, args ...string) *Program {
	t.Helper()
	p := Prepare(t, env, args...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Prepare is like NewProgram, but does not start the program.
func Prepare(t testing.TB, env map[string]string, args ...string) *Program {
	t.Helper()
	httpPort, mqttPort, adminPort := FreePort(t), FreePort(t), FreePort(t)
	p := &Program{
		HTTP:   fmt.Sprintf("http://127.0.0.1:%d", httpPort),
		WS:     fmt.Sprintf("ws://127.0.0.1:%d/mqtt", httpPort),
		MQTT:   fmt.Sprintf("127.0.0.1:%d", mqttPort),
		Admin:  fmt.Sprintf("http://127.0.0.1:%d", adminPort),
		Dir:    t.TempDir(),
		binary: Binary(t),
		env:    Environ(env),
	}
	p.args = append([]string{
		fmt.Sprintf("--http-addr=127.0.0.1:%d", httpPort), "--mqtt-addr=" + p.MQTT,
		fmt.Sprintf("--admin-addr=127.0.0.1:%d", adminPort), "--data-dir=" + p.Dir, "--drain-time=200ms",
	}, args...)
	t.Cleanup(func() {
		if p.run != nil {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("the program's log:\n%s", p.log.String())
		}
	})
	return p
}

// Downgrade makes the stopped program run as the previous release from its next start on.
func (p *Program) Downgrade(t testing.TB) {
	t.Helper()
	p.binary = PreviousBinary(t)
}

// Environ returns the process's environment without the variables that the program reads, and
// with env.
func Environ(env map[string]string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FALCON_") && !strings.HasPrefix(v, "DATABASE_URL") {
			out = append(out, v)
		}
	}
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

// Command returns another command of the program, such as token or tail, with the same
// settings. The caller runs it.
func (p *Program) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.binary, append(args, p.args...)...)
	cmd.Env = p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Begin starts the stopped program and does not wait until it is ready.
func (p *Program) Begin() error {
	cmd := exec.Command(p.binary, append([]string{"serve"}, p.args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &p.out, &p.log
	run, err := launch(cmd, false)
	p.run = run
	return err
}

// Start starts the stopped program and waits until it is ready.
func (p *Program) Start() error {
	if err := p.Begin(); err != nil {
		return err
	}
	return p.WaitReady(30 * time.Second)
}

// WaitReady waits at most limit until the program reports that it is ready.
func (p *Program) WaitReady(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		resp, err := http.Get(p.Admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("/readyz returns %d", resp.StatusCode)
		}
		select {
		case exit := <-p.run.done:
			return fmt.Errorf("the program ended: %v\n%s", exit, p.log.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the program is not ready: %w\n%s", err, p.log.String())
		}
	}
}

// Signal sends the program a signal.
func (p *Program) Signal(sig syscall.Signal) error { return p.run.cmd.Process.Signal(sig) }

// Wait waits at most limit for the program's end, and returns its exit code.
func (p *Program) Wait(limit time.Duration) (int, error) {
	run := p.run
	select {
	case <-run.done:
		p.run = nil
		return run.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("the program is still running after %v", limit)
	}
}

// Stop stops the program by SIGTERM. If it has not ended after 30 s, it is killed and Stop
// fails.
func (p *Program) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.Wait(30 * time.Second)
	if err != nil {
		return errors.Join(err, p.Kill())
	}
	if code != 0 {
		return fmt.Errorf("the program ended with exit code %d", code)
	}
	return nil
}

// Kill ends the program by SIGKILL, without a drain.
func (p *Program) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := p.Wait(10 * time.Second)
	return err
}

// Stdout returns what the program has printed so far.
func (p *Program) Stdout() string { return p.out.String() }

// Log returns what the program has logged so far.
func (p *Program) Log() string { return p.log.String() }

// transcript is a buffer that may be read while another goroutine writes to it.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// PID returns the process id of the running program.
func (p *Program) PID() int { return p.run.cmd.Process.Pid }
