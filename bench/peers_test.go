package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const secret = "a secret of the benchmark, of at least 32 bytes"

// peer is one server to measure. Targets that it does not support are nil.
type peer struct {
	name   string
	target *bench.Target
	ws     *bench.Target // its devices over WebSocket, if it has other transports, too
	only   string        // what its posts do, if that is not everything
	stop   func() error
}

// signer signs tokens that both falconbridge and Nest accept.
func signer(b testing.TB) *token.Signer {
	b.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte(secret)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// target returns a server at those addresses, for which s signs the tokens.
func target(b testing.TB, s *token.Signer, posts, devices string, pid int) *bench.Target {
	b.Helper()
	parse := func(raw string) *url.URL {
		u, err := url.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		return u
	}
	until := time.Now().Add(24 * time.Hour)
	return &bench.Target{
		Posts: parse(posts), Devices: parse(devices), PID: pid,
		Topic: topic,
		Token: func(user string) (string, error) {
			return s.Sign(bridge.Claims{User: bridge.UserID(user), ExpiresAt: until})
		},
		PostToken: func() (string, error) {
			return s.Sign(bridge.Claims{User: "bench", Scope: bridge.ScopeWrite, ExpiresAt: until})
		},
	}
}

// falconbridge starts the program with production settings, but without limits per address,
// because all load comes from one.
func falconbridge(b *testing.B, s *token.Signer, database string) peer {
	b.Helper()
	p := testserver.NewProgram(b, map[string]string{
		"FALCON_JWT_SECRET": secret, "DATABASE_URL": database, "FALCON_CONNECT_RATE_PER_IP": "off",
	})
	return peer{name: "falconbridge",
		target: target(b, s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID()),
		ws:     target(b, s, p.HTTP+"/notifications", p.WS, p.PID()), stop: p.Stop}
}

// run starts a command that listens on addr, and stops it when the benchmark ends.
func run(b *testing.B, addr string, env []string, name string, args ...string) (pid int, stop func() error) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	})
	b.Cleanup(func() { _ = stop() })
	testserver.Eventually(b, 30*time.Second, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return cmd.Process.Pid, stop
}

// nest starts the service that falconbridge replaces.
func nest(b *testing.B, s *token.Signer, database string) peer {
	b.Helper()
	p := peer{name: "Nest + Socket.IO + Postgres"}
	script, err := filepath.Abs("peers/nest/dist/main.js")
	if err != nil {
		b.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if _, built := os.Stat(script); err != nil || built != nil {
		b.Logf("%s is left out: node is not installed, or peers/nest is not built", p.name)
		return p
	}
	port := testserver.FreePort(b)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	pid, stop := run(b, addr, []string{fmt.Sprintf("PORT=%d", port), "DATABASE_URL=" + database, "JWT_SECRET=" + secret, "NODE_ENV=production"}, node, script)
	p.target, p.stop = target(b, s, "http://"+addr+"/notifications", "tcp://"+addr, pid), stop
	p.target.Login = loginSocketIO
	return p
}

// insertThenPublish starts Centrifugo and the service that inserts each notification and then
// makes Centrifugo publish it. For connections the memory and CPU reported are Centrifugo's,
// for posts the sum of both.
func insertThenPublish(b *testing.B, s *token.Signer, database string) peer {
	b.Helper()
	p := peer{name: "insert, then Centrifugo"}
	service, errService := filepath.Abs("peers/insert/dist/insert")
	centrifugo, errCentrifugo := filepath.Abs("peers/insert/dist/centrifugo")
	for _, path := range []string{service, centrifugo} {
		if _, err := os.Stat(path); errors.Join(errService, errCentrifugo, err) != nil {
			b.Logf("%s is left out: run make peers first", p.name)
			return p
		}
	}
	const key = "the publisher's key"
	port := testserver.FreePort(b)
	live := fmt.Sprintf("127.0.0.1:%d", port)
	pid, stopCentrifugo := run(b, live, []string{
		"CENTRIFUGO_HTTP_SERVER_ADDRESS=127.0.0.1", fmt.Sprintf("CENTRIFUGO_HTTP_SERVER_PORT=%d", port),
		"CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY=" + secret, "CENTRIFUGO_HTTP_API_KEY=" + key,
		"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_USER_LIMITED_CHANNELS=true", "CENTRIFUGO_LOG_LEVEL=error",
	}, centrifugo)
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(b))
	pidService, stopService := run(b, addr, []string{"DATABASE_URL=" + database, "JWT_SECRET=" + secret, "CENTRIFUGO=http://" + live, "CENTRIFUGO_KEY=" + key}, service, addr)
	p.target = target(b, s, "http://"+addr+"/notifications", "tcp://"+live, pid)
	p.target.Login = loginCentrifugo
	p.target.Helpers = []int{pidService}
	p.stop = func() error { return errors.Join(stopService(), stopCentrifugo()) }
	return p
}

// bare starts the HTTP server that does nothing.
func bare(b *testing.B, s *token.Signer) peer {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "bare")
	if out, err := exec.Command("go", "build", "-o", bin, "./peers/bare").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(b))
	pid, stop := run(b, addr, nil, bin, addr)
	return peer{stop: stop, name: "decode and answer 201, nothing else", target: target(b, s, "http://"+addr+"/", "mqtt://"+addr, pid), only: "answers"}
}

// mosquitto starts a plain broker: MQTT in, MQTT out, nothing on disk.
func mosquitto(b testing.TB, s *token.Signer) peer {
	b.Helper()
	m := testserver.NewMosquitto(b, "allow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0")
	p := peer{name: "mosquitto, publish to device, in memory", target: target(b, s, m.URL, m.URL, m.PID()), only: "delivery", stop: m.Stop}
	p.target.Publish = newPublisher
	return p
}
