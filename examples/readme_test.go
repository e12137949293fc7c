package examples

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// blocks are the commands of README.md: those above the first heading in order, and
// the others by the heading they stand under.
func blocks(t *testing.T) (first []string, under map[string]string) {
	t.Helper()
	under = make(map[string]string)
	heading := ""
	for _, m := range regexp.MustCompile("(?m)^##+ (.+)$|^```sh\n((?s:.*?))^```$").FindAllStringSubmatch(read(t, "README.md"), -1) {
		switch {
		case m[1] != "":
			heading = m[1]
		case heading == "":
			first = append(first, m[2])
		default:
			under[heading] += m[2]
		}
	}
	return first, under
}

// inNode are the examples whose commands need npm: clients/js/e2e runs those.
var inNode = []string{"node", "page", "react"}

// TestTheCommandsOfTheREADMEWork executes them as they stand there. The environment
// gives other ports and another data directory than the usual ones, and nothing else.
func TestTheCommandsOfTheREADMEWork(t *testing.T) {
	first, under := blocks(t)
	if len(first) != 3 || len(under) != 3+len(inNode) {
		t.Fatalf("README.md has %d and %d blocks of commands", len(first), len(under))
	}
	serve, tokens, send := first[0], first[1], first[2]
	httpAddr, mqtt := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), fmt.Sprint(testserver.FreePort(t))
	env := append(os.Environ(),
		"FALCON_DATA_DIR="+t.TempDir(), "FALCON_HTTP_ADDR="+httpAddr, "FALCON_MQTT_ADDR=127.0.0.1:"+mqtt,
		"FALCON_ADMIN_ADDR="+fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)),
		"FALCON_URL=http://"+httpAddr, "FALCON_PORT="+mqtt, // where the examples look
		"PATH=/usr/bin:"+os.Getenv("PATH"), // Debian's python3 has Debian's paho
	)
	// shell begins script in the repository's root; stop ends it with all it started.
	shell := func(script string) (cmd *exec.Cmd, stop func()) {
		cmd = exec.Command("bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = "..", env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		return cmd, func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}

	server, stop := shell(serve)
	server.Stdout = io.Discard // a pipe, so Wait also waits for the server that go run leaves draining
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	testserver.Eventually(t, 4*patience, func() error { // go run builds it
		r, err := http.Get("http://" + httpAddr + "/readyz")
		if err != nil {
			return err
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", r.Status)
		}
		return nil
	})

	for name, script := range map[string]string{"send": send, "curl": under["curl"]} {
		cmd, _ := shell(tokens + script)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"seq":`) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	for _, name := range []string{"mosquitto", "python"} {
		t.Run(name, func(t *testing.T) {
			cmd, stop := shell(tokens + under[name])
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			expect(t, bufio.NewScanner(out), map[string]string{"mosquitto": `"title":`, "python": "#"}[name])
		})
	}

	// The other blocks are run by the tests that have npm.
	tests := read(t, "../clients/js/e2e/examples.test.ts") + read(t, "../clients/js/e2e/react.test.ts")
	for name := range under {
		if slices.Contains(inNode, name) != strings.Contains(tests, `commands("`+name+`")`) {
			t.Errorf("the commands under %s: clients/js/e2e runs them: %v", name, slices.Contains(inNode, name))
		}
	}
}

// TestAnExampleWithoutATokenSaysSo starts what a test here can start; clients/js/e2e
// does the same with Node.
func TestAnExampleWithoutATokenSaysSo(t *testing.T) {
	for name, args := range map[string][]string{
		"curl": {"curl/send.sh"}, "mosquitto": {"mosquitto/listen.sh"}, "python": {"/usr/bin/python3", "python/listen.py"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "FALCON_") })
		out, err := cmd.CombinedOutput()
		if err == nil || !regexp.MustCompile(`FALCON_(TOKEN|ADMIN): .*set it to a token`).Match(out) || strings.Contains(string(out), "Traceback") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// mqtt.js gives up for good after a refused CONNECT, such as 0x88 while the database is
// unavailable, unless it is configured otherwise. clients/js/e2e stops the database under them.
func TestEveryMqttJSSampleTriesAgain(t *testing.T) {
	found := 0
	for _, name := range []string{"../README.md", "../docs/migrating.md", "../clients/js/README.md", "README.md", "node/listen.mjs", "page/index.html"} {
		for _, call := range strings.Split(read(t, name), "mqtt.connect(")[1:] {
			found++
			options, _, _ := strings.Cut(call, "});")
			if !strings.Contains(options, "reconnectOnConnackError: true") {
				t.Errorf("a sample in %s lacks reconnectOnConnackError: true", name)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d samples, want at least 4", found)
	}
}
