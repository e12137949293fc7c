package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// browse opens a tab. Every error that the browser logs fails the test.
func browse(t *testing.T, address string) context.Context {
	t.Helper()
	dir, err := os.MkdirTemp("", "falcon-chromium-") // removed after the browser has gone, which t.TempDir would not wait for
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	alloc, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testserver.Chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir))...)
	tab, closeTab := chromedp.NewContext(alloc)
	var mu sync.Mutex
	var complaints []string
	t.Cleanup(func() {
		closeTab()
		stop()
		cancel()
		_ = os.RemoveAll(dir)
		mu.Lock()
		defer mu.Unlock()
		for _, c := range complaints {
			t.Errorf("the browser logged: %s", c)
		}
	})
	enable := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cdplog.Enable, cdp.Empty{})
		return err
	})
	if err := chromedp.Do(tab, enable); err != nil {
		t.Fatal(err)
	}
	entries := chromedp.Events(tab, cdplog.EntryAdded)
	go func() {
		for e, err := range entries {
			if err != nil {
				return
			}
			mu.Lock()
			complaints = append(complaints, e.Entry.Text)
			mu.Unlock()
		}
	}()
	if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	return tab
}

// withAssets serves the pages' assets, from which the docs page loads its token module.
func withAssets(o *Options) {
	o.Pages = http.StripPrefix("/assets/", http.FileServerFS(os.DirFS("web/static")))
}

// until waits until an expression is true on the page.
func until(tab context.Context, t *testing.T, expression string) {
	t.Helper()
	testserver.Eventually(t, 30*time.Second, func() error {
		ok, err := chromedp.Run(tab, chromedp.Evaluate[bool](expression))
		if err == nil && !ok {
			err = errors.New("still false: " + expression)
		}
		return err
	})
}

func TestTheDocsPageShowsBothDocumentsOffline(t *testing.T) {
	showsBothDocuments(t, bare(t, withAssets).handler, "")
}

func TestTheDocsPageWorksBelowAProxysPath(t *testing.T) {
	showsBothDocuments(t, http.StripPrefix("/falcon", bare(t, withAssets).handler), "/falcon")
}

func showsBothDocuments(t *testing.T, h http.Handler, below string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	tab := browse(t, s.URL+below+"/docs#createNotification")

	until(tab, t, `document.querySelector("#createNotification details")?.open === true`)
	until(tab, t, `["listNotifications", "stats", "channel-notifications", "mqtt-codes"].every((id) => document.getElementById(id))`)
	until(tab, t, `document.getElementById("createNotification").textContent.includes("Idempotency-Key")`)
	until(tab, t, `document.getElementById("version").textContent === "test" && document.getElementById("state").textContent === ""`)

	if err := chromedp.Do(tab, chromedp.SendKeys(chromedp.CSS("#search"), "0x8E")); err != nil {
		t.Fatal(err)
	}
	until(tab, t, `[...document.querySelectorAll("article:not([hidden])")].map((a) => a.id).join() === "mqtt-codes"`)

	until(tab, t, `[...document.querySelectorAll("section:not([hidden]) h2, #nav > div:not([hidden]) b")].map((n) => n.textContent).join() === "MQTT,MQTT"`)
	until(tab, t, `document.getElementById("state").textContent === "1 found" && document.getElementById("intro").hidden`)
	write := `((text) => { const s = document.getElementById("search"); s.value = text; s.dispatchEvent(new Event("input")); return true; })`
	until(tab, t, write+`("surely nothing")`)
	until(tab, t, `document.getElementById("state").textContent.includes("Nothing contains") && document.querySelector("section:not([hidden]), #nav > div:not([hidden])") === null`)
	until(tab, t, write+`("")`)
	until(tab, t, `document.querySelector("section[hidden], #nav > div[hidden], article[hidden]") === null && !document.getElementById("intro").hidden`)

	loaded, err := chromedp.Run(tab, chromedp.Evaluate[string](`JSON.stringify(performance.getEntriesByType("resource").map((r) => r.name))`))
	var from []string
	if err != nil || json.Unmarshal([]byte(loaded), &from) != nil || len(from) < 4 {
		t.Fatalf("loaded %s, %v", loaded, err)
	}
	for _, address := range from {
		if !strings.HasPrefix(address, s.URL+below+"/") && !strings.HasPrefix(address, "data:") {
			t.Errorf("loaded from elsewhere: %s", address)
		}
	}
}

// A plain message has no report, and neither has its example.
func TestTheExampleOfAPlainMessageHasNoReport(t *testing.T) {
	s := httptest.NewServer(bare(t, withAssets).handler)
	t.Cleanup(s.Close)
	tab := browse(t, s.URL+"/docs#createNotification")
	until(tab, t, `Object.keys(JSON.parse(document.getElementById("createNotification-body").value)).join() === "title,message,created_by"`)
	until(tab, t, `Object.keys(JSON.parse(document.getElementById("createNotifications-body").value).notifications[0]).join() === "title,message,created_by"`)
}

// The header stays in view, links back to the pages, and does not cover the target of a
// link.
func TestTheDocsPageIsOneOfTheProductsPages(t *testing.T) {
	s := httptest.NewServer(bare(t, withAssets).handler)
	t.Cleanup(s.Close)
	tab := browse(t, s.URL+"/docs#stats")
	until(tab, t, `document.querySelector("#stats details")?.open === true && scrollY > 0`)
	until(tab, t, `document.querySelector(".bar").getBoundingClientRect().top === 0 && document.getElementById("stats").getBoundingClientRect().top >= document.querySelector(".bar").offsetHeight`)
	until(tab, t, `[...document.querySelectorAll(".bar .links a")].map((a) => a.pathname).join() === "/,/console"`)

	palette := regexp.MustCompile(`(?s):root \{.*?--accent.*?\}`)
	colour := regexp.MustCompile(`(--[a-z-]+): (#[0-9a-f]{6});`)
	base, err := os.ReadFile("web/static/base.css")
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := palette.FindAllString(string(base), -1), palette.FindAllString(string(docsStyle), -1)
	if len(theirs) != 2 || len(ours) != 2 {
		t.Fatalf("%d and %d palettes, want two each", len(theirs), len(ours))
	}
	for i := range theirs {
		for _, m := range colour.FindAllStringSubmatch(theirs[i], -1) {
			if !strings.Contains(ours[i], m[0]) {
				t.Errorf("palette %d has another %s than %s", i, m[1], m[2])
			}
		}
	}
}

func TestTryItCallsWithTheTokenAtHand(t *testing.T) {
	e := newHarness(t, sqlite(t), withAssets)
	s := httptest.NewServer(http.StripPrefix("/falcon", e.handler))
	t.Cleanup(s.Close)
	tab := browse(t, s.URL+"/falcon/docs#createNotification")
	until(tab, t, `document.querySelector("#createNotification details")?.open === true`)
	until(tab, t, `document.getElementById("token-state").textContent.startsWith("Without a token")`)
	until(tab, t, `document.querySelector("#createNotification pre").textContent.startsWith("curl -X POST `+s.URL+`/falcon/notifications")`)

	// As the inbox or the console left it in this tab.
	until(tab, t, `(sessionStorage.setItem("falconbridge.token", "`+tokenFor(t, "ops", "admin")+`"), true)`)
	if err := chromedp.Do(tab, chromedp.Reload()); err != nil {
		t.Fatal(err)
	}
	until(tab, t, `document.getElementById("token-state").textContent === "“Try it” calls as user ops."`)
	until(tab, t, `document.querySelector("#createNotification details")?.open === true`)
	until(tab, t, `(() => { const b = document.getElementById("createNotification-body"); b.value = '{"title": "it\'s", "message": "m", "created_by": 7}'; b.dispatchEvent(new Event("input", { bubbles: true })); return true; })()`)
	until(tab, t, `document.querySelector("#createNotification pre").textContent.includes(String.raw`+"`"+`"it'\''s"`+"`"+`)`)
	if err := chromedp.Do(tab, chromedp.Click(chromedp.CSS("#createNotification .try button"))); err != nil {
		t.Fatal(err)
	}
	until(tab, t, `document.querySelector("#createNotification .answer")?.textContent.includes("201")`)
	var n struct{ Total int }
	e.call("GET /notifications/count", tokenFor(t, "7"), "").into(&n)
	if n.Total != 1 {
		t.Errorf("user 7 has %d notifications", n.Total)
	}
	// A token never stands in a command line, which a shell would keep.
	until(tab, t, `![...document.querySelectorAll("pre")].some((p) => p.textContent.includes("eyJ"))`)

	// Copied, or where the browser refuses that, selected for copying by hand.
	if err := chromedp.Do(tab, chromedp.Click(chromedp.CSS("#createNotification .copyable button"))); err != nil {
		t.Fatal(err)
	}
	until(tab, t, `["Copied", "Selected"].includes(document.querySelector("#createNotification .copyable button").textContent)`)
	until(tab, t, `[...document.querySelectorAll("article[id] .try")].every((f) => f.closest("div").querySelector(".copyable pre").textContent.startsWith("curl"))`)
	if err := chromedp.Do(tab, chromedp.Click(chromedp.CSS("#token-forget"))); err != nil {
		t.Fatal(err)
	}
	until(tab, t, `sessionStorage.getItem("falconbridge.token") === null`)
}

func TestTheDocsPageIsAccessibleInLightAndDark(t *testing.T) {
	s := httptest.NewServer(bare(t, withAssets).handler)
	t.Cleanup(s.Close)
	axe, err := os.ReadFile("web/testdata/axe-core-4.14.1/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	tab := browse(t, s.URL+"/docs#createNotification")
	until(tab, t, `document.querySelector("#createNotification details")?.open === true`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			dress := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				if _, err := cdp.Call(ctx, target, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 860, DeviceScaleFactor: 1}); err != nil {
					return err
				}
				_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				return err
			})
			if err := chromedp.Do(tab, dress); err != nil {
				t.Fatal(err)
			}
			open := func(which string) {
				until(tab, t, `(document.querySelectorAll("details").forEach((d) => { d.open = `+which+`; }), true)`)
			}
			open("true")
			until(tab, t, `document.documentElement.scrollWidth <= document.documentElement.clientWidth && [...document.querySelectorAll("main table, main form, main .copyable")].every((n) => n.getBoundingClientRect().right <= document.documentElement.clientWidth)`)
			open(`d.parentElement.id === "createNotification"`) // all of them would take axe-core a minute
			found, err := chromedp.Run(tab, chromedp.Evaluate[[]string](string(axe)+`;axe.run(document, {resultTypes: ["violations"]}).then((r) =>
				[...r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")), "passes " + (r.passes.length > 0)])`, chromedp.EvalAwaitPromise))
			if err != nil || len(found) == 0 || found[len(found)-1] != "passes true" {
				t.Fatalf("axe-core: %q, %v", found, err)
			}
			for _, v := range found[:len(found)-1] {
				t.Errorf("%s, %d px: %s", scheme, width, v)
			}
		}
	}
}
