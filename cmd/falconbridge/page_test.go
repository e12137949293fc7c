package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// browser starts a Chromium and records every address that it requests and every error that a
// page throws.
func browser(t *testing.T) (ctx context.Context, asked, faults func() []string) {
	t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testserver.Chromium(t)), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, o...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	var mu sync.Mutex
	var urls, errs []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			urls = append(urls, ev.Request.URL)
		case *network.EventWebSocketCreated:
			urls = append(urls, ev.URL)
		case *runtime.EventExceptionThrown:
			errs = append(errs, ev.ExceptionDetails.Text)
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func(from *[]string) func() []string {
		return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), *from...)
		}
	}
	return ctx, read(&urls), read(&errs)
}

// look evaluates an expression on the page.
func look[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The second half of a newcomer's start: the address that development mode prints opens an
// inbox in a real browser, and notifications arrive there live.
func TestThePrintedPageReceivesLiveNotifications(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, nil)
	var page []string
	testserver.Eventually(t, 5*time.Second, func() error {
		if page = pageLine.FindStringSubmatch(p.Stdout()); page == nil {
			return fmt.Errorf("no page in %q", p.Stdout())
		}
		return nil
	})
	ctx, asked, faults := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(page[1]+"/#token="+page[2]),
		chromedp.WaitVisible(chromedp.CSS(`#connection[data-state="live"]`)),
		chromedp.WaitVisible(chromedp.CSS(".empty"))); err != nil {
		t.Fatalf("the page does not go live: %v; it threw %q, asked %q", err, faults(), asked())
	}
	send := p.Command("send", "--user=1", "--title=Llegó <b>ahora</b>", "--message=En vivo.")
	if out, errs, code := finish(t, send); code != 0 {
		t.Fatalf("send: exit %d, %s%s", code, out, errs)
	}
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(".item .title"))); err != nil {
		t.Fatalf("nothing arrives: %v; the page threw %q", err, faults())
	}
	list := look(t, ctx, chromedp.Text(chromedp.CSS("#inbox")))
	title := look(t, ctx, chromedp.Title())
	address := look(t, ctx, chromedp.Location())
	stored := look(t, ctx, chromedp.Evaluate[string]("JSON.stringify({...localStorage})"))
	if !strings.Contains(list, "Llegó <b>ahora</b>") {
		t.Errorf("the list says %q", list)
	}
	if !strings.HasPrefix(title, "(1) ") {
		t.Errorf("the title is %q, want one unread", title)
	}
	if strings.Contains(address, page[2]) || strings.Contains(stored, page[2]) {
		t.Errorf("the token stays in the address %q or in localStorage %q", address, stored)
	}
	if got := faults(); len(got) != 0 {
		t.Errorf("the page threw %q", got)
	}
	host, sockets := strings.TrimPrefix(p.HTTP, "http://"), 0
	for _, a := range asked() {
		u, err := url.Parse(a)
		if err != nil || u.Host != host && u.Scheme != "data" && u.Scheme != "blob" {
			t.Errorf("the page asked %s", a)
		}
		if u.Scheme == "ws" {
			sockets++
		}
		if strings.Contains(u.RawQuery, "token") || strings.Contains(u.Path, page[2]) {
			t.Errorf("a token stands in an address")
		}
	}
	if sockets != 1 {
		t.Errorf("%d WebSockets, want 1", sockets)
	}
}
