package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// waitLimit is how long anything may take to appear; the machine may be busy.
const waitLimit = 30 * time.Second

// program is the real program in development mode.
type program struct {
	t    *testing.T
	url  string
	bin  string
	data string
}

func startProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, bin: testserver.Binary(t), data: t.TempDir()}
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p.url = "http://" + addr
	cmd := exec.Command(p.bin, "serve", "--data-dir", p.data, "--http-addr", addr, "--mqtt-addr", "off",
		"--admin-addr", fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	testserver.Eventually(t, waitLimit, func() error {
		r, err := http.Get(p.url + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("ready returned %d", r.StatusCode)
		}
		return nil
	})
	return p
}

// token signs a token with the program's own key.
func (p *program) token(args ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.bin, append([]string{"token", "--data-dir", p.data}, args...)...).Output()
	if err != nil {
		p.t.Fatalf("sign a token: %v", err)
	}
	lines := strings.Fields(string(out))
	return lines[len(lines)-1]
}

// call makes one request as an administrator.
func (p *program) call(method, path, body string) {
	p.t.Helper()
	p.as(p.token("--user", "ops", "--scope", "admin"), method, path, body)
}

// as makes one request with that token.
func (p *program) as(token, method, path, body string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %s", method, path, answer.Status)
	}
}

// counts waits until user 1 has that many notifications and unread ones on the server.
func (p *program) counts(total, unread int) {
	p.t.Helper()
	// With this scope the questions do not count against the request rate of user 1, whose page would be refused.
	token := p.token("--user", "1", "--scope", "notifications:write")
	testserver.Eventually(p.t, waitLimit, func() error {
		r, err := http.NewRequest("GET", p.url+"/notifications/count", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var got struct{ Total, Unread int }
		if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
			return err
		}
		if got.Total != total || got.Unread != unread {
			return fmt.Errorf("the server has %d, %d unread", got.Total, got.Unread)
		}
		return nil
	})
}

func (p *program) notify(title, message string) {
	p.t.Helper()
	b, err := json.Marshal(map[string]any{"title": title, "message": message, "created_by": 1})
	if err != nil {
		p.t.Fatal(err)
	}
	p.call("POST", "/notifications", string(b))
}

// tab is one browser tab, in a profile of its own.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // uncaught exceptions and violations of the policy
}

// browser is the one Chromium that all tests share; each tab has a profile of its own.
var browser struct {
	sync.Once
	ctx   context.Context
	close func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.close != nil {
		browser.close()
	}
	os.Exit(code)
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := testserver.Chromium(t)
	browser.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true))
		alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(alloc)
		browser.ctx, browser.close = ctx, func() { cancel(); stop() }
		// The browser lives as long as the context of its first run.
		if err := chromedp.Do(ctx); err != nil {
			t.Fatalf("start Chromium: %v", err)
		}
	})
	return browser.ctx
}

// newTab opens a tab with that width and language.
func newTab(t *testing.T, width int64, language string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(startBrowser(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: 860, DeviceScaleFactor: 1, Mobile: width < 600})
		if err != nil {
			return err
		}
		if width < 600 {
			if _, err = cdp.Call(ctx, target, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true}); err != nil {
				return err
			}
		}
		// Tests run side by side, and a tab in the background would not take keys.
		if _, err = cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
			return err
		}
		if _, err = cdp.Call(ctx, target, cdplog.Enable, cdp.Empty{}); err != nil {
			return err
		}
		_, err = cdp.Call(ctx, target, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
			UserAgent: "test", AcceptLanguage: language})
		return err
	}))
	if err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	b.listen()
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the browser complained: %s", p)
		}
	})
	return b
}

// listen records uncaught exceptions and violations of the policy until the tab closes.
func (b *tab) listen() {
	note := func(what string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, what)
	}
	exceptions := chromedp.Events(b.ctx, runtime.ExceptionThrown)
	entries := chromedp.Events(b.ctx, cdplog.EntryAdded)
	go func() {
		for e, err := range exceptions {
			if err != nil {
				return
			}
			what := e.ExceptionDetails.Text
			if e.ExceptionDetails.Exception != nil {
				what += " " + e.ExceptionDetails.Exception.Description
			}
			note(what)
		}
	}()
	go func() {
		for e, err := range entries {
			if err != nil {
				return
			}
			if e.Entry.Source == cdplog.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
				note(e.Entry.Text)
			}
		}
	}()
}

// prefers sets the preferred colour scheme, light or dark.
func (b *tab) prefers(scheme string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) click(selector string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(selector))) }

func (b *tab) write(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (b *tab) open(address string) { b.t.Helper(); b.do(chromedp.Navigate(address)) }

// run evaluates an expression and returns its value.
func run[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.80s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	testserver.Eventually(b.t, waitLimit, func() error {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !ok {
			return fmt.Errorf("not so: %s", what)
		}
		return nil
	})
}

const (
	isLive   = `document.getElementById("connection").dataset.state === "live"`
	newest   = `document.querySelector(".item .title")?.textContent`
	howMany  = `document.querySelectorAll(".item").length`
	unreadIs = `document.getElementById("badge").textContent`
)

// accessible runs axe-core on the current page.
func (b *tab) accessible(where string) {
	b.t.Helper()
	source, err := os.ReadFile("testdata/axe-core-4.14.1/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	run[int](b, string(source)+";0")
	found := run[[]string](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) =>
		[...r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")), "passes " + r.passes.length])`)
	if last := found[len(found)-1]; last == "passes 0" {
		b.t.Errorf("%s: axe-core found nothing to look at", where)
	}
	for _, v := range found[:len(found)-1] {
		b.t.Errorf("%s: %s", where, v)
	}
}
