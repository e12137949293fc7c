package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// browse opens a tab; what the browser complains of fails the test.
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
			t.Errorf("the browser complained: %s", c)
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

// until waits for an expression to be true on the page.
func until(tab context.Context, t *testing.T, expression string) {
	t.Helper()
	testserver.Eventually(t, 30*time.Second, func() error {
		ok, err := chromedp.Run(tab, chromedp.Evaluate[bool](expression))
		if err == nil && !ok {
			err = errors.New("not so: " + expression)
		}
		return err
	})
}

func TestTheDocsPageShowsBothDocumentsOffline(t *testing.T) {
	showsBothDocuments(t, bare(t).handler, "")
}

func TestTheDocsPageWorksBelowAProxysPath(t *testing.T) {
	showsBothDocuments(t, http.StripPrefix("/falcon", bare(t).handler), "/falcon")
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
