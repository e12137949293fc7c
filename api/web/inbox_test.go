package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestAnInboxFromDeepLinkToDelete(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.notify("Primera", "Estaba antes")
	b := newTab(t, 390, "es")
	token := p.token("--user", "1")
	b.open(p.url + "/#token=" + token)
	b.until("the page is live", isLive)
	b.until("history is shown", newest+` === "Primera"`)

	// The token left the address bar and the tab's history, and is in no lasting store.
	if at := run[string](b, `location.href`); strings.Contains(at, "token") {
		t.Error("the token is still in the address bar")
	}
	if kept := run[int](b, `localStorage.length + document.cookie.length`); kept != 0 {
		t.Error("something is kept beyond the tab")
	}
	if lang := run[string](b, `document.documentElement.lang`); lang != "es" {
		t.Errorf("the page speaks %q to a Spanish browser", lang)
	}

	// Notifications arrive live, are announced, and are shown as text whatever they contain.
	evil := `<img src=x onerror="document.title='pwned'"> & <b>no</b>`
	p.notify(evil, "<script>document.title='pwned'</script>")
	want, _ := json.Marshal(evil)
	b.until("it arrives", newest+` === `+string(want))
	b.until("a screen reader says so", `document.getElementById("announcer").textContent.endsWith(`+string(want)+`)`)
	if toasts := run[int](b, `document.querySelectorAll(".toast").length`); toasts != 0 {
		t.Error("a toast repeats what is on the screen")
	}
	b.until("both are unread", unreadIs+` === "2"`)
	if run[bool](b, `document.title.includes("pwned") || document.querySelector(".item img, .item b, .item script") !== null`) {
		t.Error("a notification was read as markup")
	}
	b.accessible("the inbox")

	b.click(".item .act")
	b.until("one is read", unreadIs+` === "1"`)
	b.click(".mark-all")
	b.until("all are read", unreadIs+` === "" && document.querySelectorAll(".unread").length === 0`)

	b.click(".item .remove")
	// At once, in the page: what can be undone can be for eight seconds only, which a busy
	// machine may take for a click from outside.
	b.until("it is hidden, and taken back", newest+` === "Primera" && (document.querySelector(".said:not([hidden]) button").click() ?? true)`)
	b.until("undone, it is back", howMany+` === 2`)
	p.counts(2, 0)
	b.click(".item .remove")
	b.until("it is hidden again", newest+` === "Primera"`)
	b.accessible("deleted, with a way back")
	p.counts(1, 0)
	b.do(chromedp.Reload())
	b.until("the token survived the reload", isLive)
	b.until("it stays deleted, and read", howMany+` === 1 && `+unreadIs+` === ""`)

	b.click(".mute")
	b.until("muted, nothing is listed, and that is explained", howMany+` === 0 && document.querySelector(".notice").textContent.includes("hasta que quite el silencio")`)
	b.accessible("muted")
	p.notify("Callada", "Mientras")
	b.click(".notice button")
	b.until("the history can be seen all the same", newest+` === "Callada" && `+howMany+` === 2`)
	b.click(".notice button:last-child")
	b.until("unmuted, all is listed", newest+` === "Callada" && `+howMany+` === 2 && document.querySelector(".notice").hidden`)

	run[bool](b, `document.querySelector('[data-speak="en"]').click() ?? true`)
	b.until("it speaks English", `document.querySelector(".name").textContent === "Inbox"`)
	buttons := run[string](b, `[...document.querySelectorAll("#languages button")].map((n) => n.textContent + " " + n.ariaPressed).join()`)
	if buttons != "Español false,English true" {
		t.Errorf("the buttons of the languages are %s", buttons)
	}
}

func TestPagingHasNoGapsOrDuplicates(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	var drafts []string
	for i := 1; i <= 120; i++ {
		drafts = append(drafts, fmt.Sprintf(`{"title":"N%d","message":"m","created_by":1}`, i))
	}
	p.call("POST", "/notifications/batch", `{"notifications":[`+strings.Join(drafts, ",")+`]}`)
	b := newTab(t, 1280, "en")
	b.open(p.url + "/#token=" + p.token("--user", "1"))
	b.until("the first page is there", howMany+` === 50`)
	b.until("the page is live", isLive)
	p.notify("N121", "m")
	b.until("a live one joins it", howMany+` === 51`)
	for _, want := range []string{"101", "121"} {
		b.click(".older")
		b.until("the next page is there", howMany+` === `+want)
	}
	titles := run[string](b, `[...document.querySelectorAll(".item .title")].map((n) => n.textContent).join()`)
	for i, title := range strings.Split(titles, ",") {
		if title != fmt.Sprintf("N%d", 121-i) {
			t.Fatalf("at place %d stands %s", i, title)
		}
	}
	b.until("nothing older is offered", `document.querySelector(".older").hidden`)
}

func TestTheInboxWorksByKeyboard(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	for _, title := range []string{"Uno", "Dos", "Tres"} {
		p.notify(title, "m")
	}
	b := newTab(t, 1280, "es")
	b.open(p.url + "/#token=" + p.token("--user", "1"))
	b.until("all are there", howMany+` === 3`)
	press := func(keys string) {
		t.Helper()
		b.do(chromedp.KeyEvent(keys))
	}
	const focused = `document.activeElement.querySelector?.(".title")?.textContent`
	run[bool](b, `document.getElementById("bell").focus() ?? true`)
	press(kb.Enter)
	b.until("the bell leads to the newest unread", focused+` === "Tres"`)
	press(kb.Enter)
	b.until("Enter marks it read", unreadIs+` === "2"`)
	press(kb.ArrowDown)
	b.until("the arrow leads on", focused+` === "Dos"`)
	press(kb.End)
	b.until("End leads to the last", focused+` === "Uno"`)
	if stops := run[int](b, `document.querySelectorAll('.item[tabindex="0"]').length`); stops != 1 {
		t.Errorf("the list has %d tab stops", stops)
	}
	press(kb.Delete)
	b.until("Delete hides it", howMany+` === 2`)
	b.until("its neighbour has the focus", focused+` === "Dos"`)
	run[bool](b, `document.querySelector(".said button").focus() ?? true`)
	press(kb.Enter)
	b.until("undone, it is back", howMany+` === 3`)
	run[bool](b, `document.getElementById("bell").focus() ?? true`)
	press(kb.Enter)
	press(kb.End)
	press(kb.Delete)
	p.counts(2, 1)
	b.until("its neighbour has the focus", focused+` === "Dos"`)
}

// TestWithoutMQTTTheInboxPolls puts a proxy in front of the program that lets no
// WebSocket through at first, as some networks do.
func TestWithoutMQTTTheInboxPolls(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	var blocked atomic.Bool
	blocked.Store(true)
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if blocked.Load() && r.URL.Path == "/mqtt" {
			http.Error(w, "blocked", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()

	b := newTab(t, 390, "en")
	b.open(front.URL + "/#token=" + p.token("--user", "1"))
	b.until("it says that it polls", `document.getElementById("connection").dataset.state === "polling"`)
	b.accessible("polling")
	p.notify("Slowly", "but surely")
	b.until("it arrives all the same", newest+` === "Slowly"`)
	blocked.Store(false)
	b.click(".notice button")
	b.until("live again", isLive)
	p.notify("Quickly", "again")
	b.until("and it arrives live", newest+` === "Quickly" && `+howMany+` === 2`)
}

// TestThePagesWorkBelowAProxysPath serves the program below /falcon/, which it never sees.
func TestThePagesWorkBelowAProxysPath(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.StripPrefix("/falcon", httputil.NewSingleHostReverseProxy(target)))
	defer front.Close()
	for i := range 26 { // one more than the console's first page
		p.call("POST", "/reports", fmt.Sprintf(`{"id": %d, "title": "t", "created_by": 1}`, i+1))
	}
	p.notify("Below", "a path")

	b := newTab(t, 390, "en")
	b.open(front.URL + "/falcon/#token=" + p.token("--user", "1"))
	b.until("the inbox is live", isLive)
	b.until("history is shown", newest+` === "Below"`)
	b.open(front.URL + "/falcon/console")
	b.until("the console's form is shown", `!document.getElementById("welcome").hidden`)
	b.write("#token", p.token("--user", "ops", "--scope", "admin")+"\r")
	b.until("the console is live", isLive)
	b.until("reports are listed", `document.querySelectorAll("#reports tbody tr").length === 25`)
	b.click("#reports > .quiet")
	b.until("the next page follows", `document.querySelectorAll("#reports tbody tr").length === 26`)
}

func TestAnInvalidTokenIsExplained(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	b := newTab(t, 390, "en")
	b.open(p.url + "/")
	b.until("the welcome is shown", `!document.getElementById("welcome").hidden`)
	b.accessible("the welcome")

	good := p.token("--user", "1")
	forged := good[:len(good)-8] + "AAAAAAAA"
	for token, says := range map[string]string{
		"nonsense":                          "not a token",
		forged:                              "does not accept",
		"e30.eyJzdWIiOjEsImV4cCI6MTAwMH0.x": "expired",
	} {
		run[string](b, fmt.Sprintf(`location.hash = "token=%s"`, token))
		b.until("the fault is shown: "+says, fmt.Sprintf(`document.getElementById("fault").textContent.includes(%q) && !document.getElementById("fault").hidden`, says))
		if run[bool](b, `sessionStorage.getItem("falconbridge.token") !== null`) {
			t.Errorf("a token that does not do is kept (%s)", says)
		}
	}
	b.accessible("a fault")

	// By hand, and out by the token's revocation: the list stays, and says that it does not go on.
	p.notify("Kept", "on the screen")
	b.write("#token", good+"\r")
	b.until("the page is live", isLive)
	p.call("POST", "/admin/revocations", `{"user": 1}`)
	b.until("the revoked token ends the session", `document.querySelector(".notice").textContent.includes("Signed out")`)
	b.until("the list stays", newest+` === "Kept"`)
	b.accessible("signed out by a revocation")
}

// Anyone can send a link with a token of their own. A reader who follows it would act,
// read and report in the sender's inbox.
func TestALinkWithATokenDoesNotReplaceTheSignedInUserWithoutAsking(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	own, again, others := p.token("--user", "1"), p.token("--user", "1", "--ttl", "2h"), p.token("--user", "7")
	b := newTab(t, 390, "en")
	b.open(p.url + "/#token=" + own)
	b.until("user 1 is live", isLive)
	const asks = `document.getElementById("confirm").open && document.getElementById("confirm-title").textContent === "Switch to user 7?" && document.getElementById("confirm-text").textContent.includes("user 1")`
	shown := func(user string) {
		t.Helper()
		b.until("user "+user+" is signed in", `document.getElementById("user").textContent === "User `+user+`" && !document.getElementById("confirm").open`)
	}
	follow := func(token string) {
		t.Helper()
		run[string](b, fmt.Sprintf(`location.hash = "token=%s"`, token))
		b.until("the token left the address bar", `!location.href.includes("token")`)
	}

	follow(others)
	b.until("a link in the same tab asks first", asks)
	b.accessible("the question")
	b.click("#confirm-no")
	shown("1")

	// The same, where the page is loaded by the link.
	b.open("about:blank")
	b.open(p.url + "/#token=" + others)
	b.until("a link that loads the page asks first", asks)
	b.do(chromedp.KeyEvent(kb.Escape))
	shown("1")
	if kept := run[string](b, `sessionStorage.getItem("falconbridge.token")`); kept != own {
		t.Error("the link's token is kept")
	}

	follow("nonsense")
	b.until("an invalid link does not sign the user out", `document.querySelector(".toast.fault")?.textContent.includes("still signed in as user 1")`)
	shown("1")
	follow(again)
	b.until("a newer token of the same user is taken", fmt.Sprintf(`sessionStorage.getItem("falconbridge.token") === %q`, again))

	// A question that a second link replaces counts as refused.
	follow(p.token("--user", "8"))
	b.until("the first link asks", `document.getElementById("confirm-title").textContent === "Switch to user 8?"`)
	follow(others)
	b.until("the second asks instead", asks)
	b.click("#confirm-yes")
	shown("7")
}

// TestTheBrowserEnforcesThePolicy shows what connect-src 'self' allows: the
// WebSocket to the page's own host, which every other test uses, and none to another.
func TestTheBrowserEnforcesThePolicy(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	other := startProgram(t)
	b := newTab(t, 1280, "en")
	b.open(p.url + "/")
	b.until("the page is there", `document.documentElement.dataset.ready === ""`)
	for what, script := range map[string]string{
		"a WebSocket to another port": fmt.Sprintf(`new Promise((done) => { addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective), {once: true}); try { new WebSocket(%q, "mqtt").onopen = () => done("open"); } catch { done("connect-src"); } })`, strings.Replace(other.url, "http", "ws", 1)+"/mqtt"),
		"a fetch from another port":   fmt.Sprintf(`new Promise((done) => { addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective), {once: true}); fetch(%q).then(() => done("open"), () => {}); })`, other.url+"/healthz"),
	} {
		if got := run[string](b, script); got != "connect-src" {
			t.Errorf("%s: %q", what, got)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) == 0 {
		t.Error("the browser did not complain")
	}
	b.problems = nil // these were wanted
}
