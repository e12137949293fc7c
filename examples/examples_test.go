// Package examples holds what a newcomer copies. Its tests run the examples that
// need nothing but the Debian packages of the other tests; those that need npm run
// in clients/js/e2e.
package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/falconalert/falconbridge/internal/testserver"
)

const patience = 30 * time.Second

// program is the real program in development mode.
type program struct {
	url, port, bin, data string
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{bin: testserver.Binary(t), port: fmt.Sprint(testserver.FreePort(t)), data: t.TempDir()}
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p.url = "http://" + addr
	cmd := exec.Command(p.bin, append([]string{"serve", "--data-dir", p.data, "--http-addr", addr, "--mqtt-addr", "127.0.0.1:" + p.port,
		"--admin-addr", fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	testserver.Eventually(t, patience, func() error {
		r, err := http.Get(p.url + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("ready answers %d", r.StatusCode)
		}
		return nil
	})
	return p
}

func (p *program) token(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(p.bin, append([]string{"token", "--data-dir", p.data}, args...)...).Output()
	if err != nil {
		t.Fatalf("sign a token: %v", err)
	}
	lines := strings.Fields(string(out))
	return lines[len(lines)-1]
}

// send runs the curl example.
func (p *program) send(t *testing.T, key string, args ...string) string {
	t.Helper()
	cmd := exec.Command("curl/send.sh", args...)
	cmd.Env = append(os.Environ(), "FALCON_URL="+p.url, "FALCON_KEY="+key,
		"FALCON_ADMIN="+p.token(t, "--user", "ops", "--scope", "admin"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl/send.sh: %v: %s", err, out)
	}
	return string(out)
}

func TestCurlRepeatsSafely(t *testing.T) {
	p := start(t)
	first := p.send(t, "one", "1", "Hola", "Desde curl")
	if !strings.Contains(first, `"seq":1`) {
		t.Fatalf("the first answer is %s", first)
	}
	if again := p.send(t, "one", "1", "Hola", "Desde curl"); again != first {
		t.Errorf("repeated under its key it answers %s", again)
	}
	if other := p.send(t, "two", "1", "Hola", "Otra"); !strings.Contains(other, `"seq":2`) {
		t.Errorf("another one answers %s", other)
	}
}

func TestMosquittoKeepsItsPlace(t *testing.T) {
	p := start(t)
	listen := func() (lines *bufio.Scanner, stop func()) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		cmd := exec.CommandContext(ctx, "mosquitto/listen.sh", "1")
		cmd.Env = append(os.Environ(), "FALCON_PORT="+p.port, "FALCON_TOKEN="+p.token(t, "--user", "1"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.Cancel = end
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(out), func() { _ = end(); _ = cmd.Wait(); cancel() }
	}
	p.send(t, "a", "1", "Antes", "x")
	lines, stop := listen()
	expect(t, lines, `"title":"Antes"`) // the retained one says that the subscription stands
	p.send(t, "b", "1", "En vivo", "x")
	expect(t, lines, `"title":"En vivo"`)
	stop()
	p.send(t, "c", "1", "Ausente 1", "x")
	p.send(t, "d", "1", "Ausente 2", "x")
	lines, stop = listen()
	defer stop()
	expect(t, lines, `"title":"Ausente 1"`)
	expect(t, lines, `"title":"Ausente 2"`)
}

// expect reads lines up to one that holds want; the process is killed where none comes.
func expect(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), want) {
			return
		}
	}
	t.Fatalf("%s did not arrive", want)
}

// The example builds its JSON itself: whatever text it is given has to arrive as it is.
func TestCurlSendsAnyText(t *testing.T) {
	p := start(t)
	for _, text := range []string{
		`Say "hi"`, `C:\new\table`, "two\nlines\n", "tab\tand \u0001 control", `{"a":1}, %s %d $(id) '`, "ñ – 你好 – مرحبا – 🎉", "\\", "@/etc/passwd", "-n",
	} {
		p.send(t, "", "1", text, text)
		r, err := http.NewRequest(http.MethodGet, p.url+"/notifications?limit=1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+p.token(t, "--user", "1"))
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var items []struct{ Title, Message string }
		err = json.NewDecoder(a.Body).Decode(&items)
		_ = a.Body.Close()
		if err != nil || len(items) != 1 || items[0].Title != text || items[0].Message != text {
			t.Errorf("%q arrived as %+v (%v)", text, items, err)
		}
	}
}

// TestTheBarePage serves the example as its comment says, with the vendored mqtt.js
// in the place of the installed one, from another origin than the bridge's.
func TestTheBarePage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := filepath.Glob("../api/web/static/client/vendor/mqtt-*/mqtt.esm.js")
	if err != nil || len(bundles) != 1 {
		t.Fatalf("the vendored bundles are %v (%v)", bundles, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("page")))
	mux.HandleFunc("/node_modules/mqtt/dist/mqtt.esm.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundles[0]) })
	site := httptest.NewUnstartedServer(mux)
	_ = site.Listener.Close()
	site.Listener = l
	site.Start()
	defer site.Close()

	p := start(t, "--cors-origins", site.URL)
	p.send(t, "a", "1", "Antes", "historia")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testserver.Chromium(t)), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(site.URL+"/#url="+p.url+"&token="+p.token(t, "--user", "1"))); err != nil {
		t.Fatal(err)
	}
	shows := func(want string) {
		t.Helper()
		testserver.Eventually(t, patience, func() error {
			got, err := chromedp.Run(ctx, chromedp.Evaluate[string](
				`document.getElementById("state").textContent + "|" + [...document.querySelectorAll("li")].map((n) => n.textContent).join("|")`))
			if err == nil && got != want {
				err = fmt.Errorf("the page shows %q", got)
			}
			return err
		})
	}
	shows("live|Antes: historia")
	p.send(t, "b", "1", "Ahora", "<b>en vivo</b>")
	shows("live|Ahora: <b>en vivo</b>|Antes: historia")
}
