package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const secret = "a secret of the crash test, long enough to be one"

// waitLimit is how long a test waits for an event, such as the arrival of the last notification after
// the last fault has ended.
const waitLimit = 60 * time.Second

// fleet consists of one or more nodes with the same database.
type fleet struct {
	t     *testing.T
	nodes []*node
}

// node is one process of the real program. It keeps its ports when it is restarted.
type node struct {
	name       string
	http, mqtt string // host:port
	env        []string
	log        string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan error
	up   bool // whether clients are sent to it
}

// newFleet starts n nodes. env returns what to add to the environment of node i.
func newFleet(t *testing.T, n int, env func(i int) []string) *fleet {
	t.Helper()
	return newFleetOf(t, slices.Repeat([]string{testserver.Binary(t)}, n), env)
}

// newFleetOf starts one node with each of the programs.
func newFleetOf(t *testing.T, programs []string, env func(i int) []string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	for i, bin := range programs {
		dir := t.TempDir()
		x := &node{name: fmt.Sprint("node", i), log: filepath.Join(dir, "log"),
			http: loopback(t), mqtt: loopback(t)}
		x.env = append(os.Environ(), "FALCON_HTTP_ADDR="+x.http, "FALCON_MQTT_ADDR="+x.mqtt, "FALCON_ADMIN_ADDR=off",
			"FALCON_DATA_DIR="+dir, "FALCON_JWT_SECRET="+secret, "FALCON_CONNECT_RATE_PER_IP=off", "FALCON_REQUEST_RATE_PER_USER=off", "FALCON_DRAIN_TIME=1s", "FALCON_LOG_LEVEL=warn")
		x.env = append(x.env, env(i)...)
		f.nodes = append(f.nodes, x)
		x.start(t, bin)
		t.Cleanup(func() { x.end(syscall.SIGKILL); x.tail(t) })
	}
	for _, x := range f.nodes {
		x.ready(t)
	}
	return f
}

func loopback(t *testing.T) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testserver.FreePort(t)))
}

func (x *node) start(t *testing.T, bin string) {
	t.Helper()
	log, err := os.OpenFile(x.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = x.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig kills the child when this thread ends
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", x.name, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cmd, x.done = cmd, done
}

// end signals the process and waits for its end.
func (x *node) end(sig syscall.Signal) {
	x.mu.Lock()
	cmd, done := x.cmd, x.done
	x.cmd, x.up = nil, false
	x.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

func (x *node) alive() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.up
}

// join sends clients to the node, whether or not it listens yet.
func (x *node) join() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.up = true
}

// ready waits until the node reports that it is ready, and then sends clients to it.
func (x *node) ready(t *testing.T) {
	t.Helper()
	testserver.Eventually(t, 30*time.Second, func() error {
		resp, err := client.Get("http://" + x.http + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz of %s returns %s", x.name, resp.Status)
		}
		return nil
	})
	x.join()
}

// tail logs the end of the node's log if the test failed.
func (x *node) tail(t *testing.T) {
	if !t.Failed() {
		return
	}
	b, err := os.ReadFile(x.log)
	if err != nil {
		return
	}
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	t.Logf("%s:\n%s", x.name, bytes.TrimSpace(b))
}

// pick returns a random node among those that clients are sent to.
func (f *fleet) pick() (*node, error) {
	var live []*node
	for _, x := range f.nodes {
		if x.alive() {
			live = append(live, x)
		}
	}
	if len(live) == 0 {
		return nil, errors.New("no node is up")
	}
	return live[rand.IntN(len(live))], nil
}

// crash kills and restarts random nodes, n times in all. Before each kill some more posts get
// their 201, so that there is always work in progress.
func (f *fleet) crash(n int, l *ledger) {
	bin := testserver.Binary(f.t)
	for range n {
		want := l.count() + 1 + rand.IntN(40)
		for deadline := time.Now().Add(5 * time.Second); l.count() < want && time.Now().Before(deadline); {
			<-time.After(time.Duration(1+rand.IntN(20)) * time.Millisecond) // so that the kill comes at a random moment
		}
		x := f.nodes[rand.IntN(len(f.nodes))]
		x.end(syscall.SIGKILL)
		x.start(f.t, bin)
		if len(f.nodes) == 1 || rand.IntN(2) == 0 {
			x.ready(f.t)
		} else {
			x.join()
		}
	}
	for _, x := range f.nodes {
		x.ready(f.t)
	}
}

// kills returns how often a test kills a process: want, or more if `make soak` asks for it.
func kills(t *testing.T, want int) int {
	if s := os.Getenv("FALCON_SOAK"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FALCON_SOAK must be a number of kills: %v", err)
		}
		return max(n, want)
	}
	return want
}

// sign returns a token of u that is valid for longer than any test runs.
func sign(t *testing.T, u bridge.UserID, scope bridge.Scope) string {
	t.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bridge.Claims{User: u, Scope: scope, ExpiresAt: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
