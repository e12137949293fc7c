package web

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// run starts another command of the program against p; end stops it.
func (p *program) run(args ...string) (end func()) {
	p.t.Helper()
	cmd := exec.Command(p.bin, append(args, "--data-dir", p.data, "--url", p.url, "--mqtt-url", "ws"+p.url[len("http"):]+"/mqtt")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	p.t.Cleanup(end)
	return end
}

// device connects a persistent device.
func (p *program) device(user, client string) (end func()) {
	return p.run("tail", "--user", user, "--client-id", client, "--persistent")
}

// console opens the console as an operator.
func (p *program) console(width int64) *tab {
	p.t.Helper()
	b := newTab(p.t, width, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "ops", "--scope", "admin"))
	b.until("the console is live", isLive)
	return b
}

// listed is a script that returns the client ids of the devices panel, in order.
const listed = `[...document.querySelectorAll("#connections code")].map((n) => n.textContent).join(" ")`

// figure returns a script that reads the text of the chart with that name.
func figure(name string) string {
	return `[...document.querySelectorAll(".chart")].find((n) => n.querySelector("figcaption").textContent === "` + name + `").textContent`
}

func (b *tab) untilFigure(name, has string) {
	b.t.Helper()
	b.until(name+" says "+has, figure(name)+`.includes("`+has+`")`)
}

// A known load: 3 devices of 2 users, 20 notifications for the one with two devices, 5
// for the other, 4 for a muted user, and 2 logins with a token of another key. The console's own connection, which receives a
// copy of each, is not counted in any figure.
func TestTheConsolesFiguresMatchAKnownLoad(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.device("1", "phone")
	p.device("1", "laptop")
	p.device("2", "tablet")
	p.as(p.token("--user", "3"), "PATCH", "/settings", `{"is_review_enabled":0}`)
	b := p.console(1280)
	b.until("the three devices are listed", listed+` === "laptop phone tablet"`)
	b.untilFigure("Connections", "3 devicesconnected now, on 1 node")
	b.until("the list says how many", `document.getElementById("spread").textContent === "3 listed"`)
	for user, n := range map[int]int{1: 20, 2: 5, 3: 4} {
		for i := range n {
			p.call("POST", "/notifications", fmt.Sprintf(`{"title":"N%d","message":"m","created_by":%d}`, i, user))
		}
	}
	for range 2 {
		p.run("tail", "--token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6OTk5OTk5OTk5OX0.AAAA")
	}
	b.untilFigure("Notifications", "; 25 since") // one each, the muted user's none
	b.untilFigure("Sent to devices", "; 45 since")
	b.untilFigure("In flight", "0 messages")
	b.untilFigure("Refused logins", "; 2 since")
	b.until("the node says what it counts", `document.getElementById("nodes").textContent.includes("4 connections, including consoles · since its start 45 sent to devices, 25 to operators")`)
	if n := run[int](b, `document.querySelectorAll(".chart .axis.y span").length`); n != 14 {
		t.Errorf("%d labels on the axes of 7 charts", n)
	}
}

func TestTheConsoleSortsFiltersAndPagesDevices(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.run("bench", "idle", "--connections", "60", "--hold", "5m", "--first-user", "100")
	b := p.console(1280)
	b.until("a page is full", `document.querySelectorAll("#connections tbody tr").length >= 49 && !document.getElementById("page-on").disabled`)
	p.device("1", "Phone_A")
	b.write("#match", "phone_")
	b.until("one matches", listed+` === "Phone_A"`)
	b.until("a search without a match says so", `(() => { const m = document.getElementById("match"); m.value = "nothing"; m.dispatchEvent(new Event("input")); return true; })()`)
	b.until("it says that none matches", `document.querySelector("#connections .none")?.textContent === "No device matches."`)
	choose := func(id, value string) {
		t.Helper()
		run[bool](b, fmt.Sprintf(`(() => { const s = document.getElementById(%q); s.value = %q; s.dispatchEvent(new Event(s.id === "match" ? "input" : "change")); return true; })()`, id, value))
	}
	choose("match", "")
	choose("by-transport", "tcp")
	b.until("none is on TCP", `document.querySelector("#connections .none") !== null`)
	choose("by-transport", "ws")
	choose("by-protocol", "5")
	b.until("all are over WebSocket", `document.querySelectorAll("#connections tbody tr").length >= 49`)

	const first = `document.querySelector("#connections code")?.textContent`
	const sorter = `[...document.querySelectorAll("#connections .sort")].find((n) => n.textContent.startsWith("Connected"))`
	run[bool](b, sorter+`.click() ?? true`)
	b.until("the oldest is first", `document.querySelector('#connections [aria-sort="ascending"]')?.textContent.startsWith("Connected") && `+first+` !== "Phone_A"`)
	run[bool](b, sorter+`.click() ?? true`)
	b.until("the newest is first", first+` === "Phone_A"`)
	b.accessible("devices, sorted")
	b.click("#page-on")
	b.until("the second page is shown", `document.getElementById("page").textContent === "Page 2" && `+first+` !== "Phone_A"`)
	b.until("it is the last one", `document.getElementById("page-on").disabled && document.querySelectorAll("#connections tbody tr").length <= 12`)
	b.click("#page-back")
	b.until("and back", first+` === "Phone_A"`)
}

func TestTheConsoleShowsAbsentDevicesAndEndsOne(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.device("1", "phone")
	gone := p.device("1", "tablet")
	b := p.console(1280)
	b.until("both are connected", listed+` === "phone tablet"`)
	gone()
	p.notify("one", "m")
	p.notify("two", "m")
	b.click(`[data-list="absent"]`)
	b.until("the absent one is listed with its lag", listed+` === "tablet" && document.querySelector("#connections td .behind")?.textContent === "2 notifications behind"`)
	b.until("it says until when it keeps its place", `/in \d day/.test(document.querySelector("#connections").textContent)`)
	b.click("#only-behind")
	b.until("it misses something", listed+` === "tablet"`)
	b.accessible("absent devices")

	b.write("#who", "1\r")
	b.until("the user's devices are shown with their state", `(() => { const rows = [...document.querySelectorAll("#devices li")].map((n) => n.textContent); return rows.length === 2 && rows[0].includes("phoneconnected") && rows[1].includes("tabletabsent") && rows[1].includes("2 notifications behind"); })()`)
	b.click("#connections .end")
	b.until("it asks first", `document.getElementById("confirm").open && document.getElementById("confirm-what").textContent === "1 · tablet"`)
	b.click("#confirm-yes")
	b.until("it is removed", `document.querySelector("#connections .none") !== null`)

	b.click(`[data-list="connected"]`)
	b.until("the other one is connected", listed+` === "phone"`)
	b.click("#connections .end")
	b.until("it asks first", `document.getElementById("confirm").open && document.getElementById("confirm-title").textContent === "Disconnect this device?"`)
	b.click("#confirm-yes")
	b.until("both are in the audit log", `["device phone", "device tablet, with its session"].every((s) => document.getElementById("audit").textContent.includes(s)) || (document.getElementById("audit-again").click(), false)`)
}

func TestTheConsoleSaysThatAUserIsMuted(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.notify("before", "m")
	p.as(p.token("--user", "1"), "PATCH", "/settings", `{"is_review_enabled":0}`)
	b := p.console(1280)
	b.write("#who", "1\r")
	b.until("it says so, and shows the history", `document.querySelector("#muted .notice")?.textContent.includes("User 1 is muted") && document.querySelector(".history strong")?.textContent === "before"`)
	b.click(".stack .primary")
	b.until("what is sent is not said to be on its way", `[...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("Stored for user 1 as number 2. The user is muted, so it is not delivered"))`)
	b.accessible("a muted user")
	p.as(p.token("--user", "1"), "PATCH", "/settings", `{"is_review_enabled":1}`)
	b.until("unmuted, the notice goes by itself", `document.querySelector("#muted .notice") === null`)
}

func TestTheConsoleExplainsANotification(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	end := p.device("1", "phone")
	b := p.console(1280)
	b.until("the device is connected", listed+` === "phone"`)
	p.notify("shown", "m")
	b.click("#stream .what")
	b.until("it is explained from the stream", `/Notification \d+ is number 1 of user 1/.test(document.getElementById("explanation").textContent)`)
	b.until("the device has it", `(() => { if (document.getElementById("explanation").textContent.includes("phone acknowledged it")) return true; document.getElementById("explain-form").requestSubmit(); return false; })()`)
	end()
	b.write("#who", "1\r")
	b.until("the history is shown", `document.querySelector(".history .link") !== null`)
	b.click(".history .link")
	b.until("it is explained there, too", `document.querySelector(".history .explanation")?.textContent.includes("phone acknowledged it")`)
	b.accessible("an explanation")
	run[bool](b, `(() => { document.getElementById("which").value = "999"; document.getElementById("explain-form").requestSubmit(); return true; })()`)
	b.until("an id that there is not is named", `[...document.querySelectorAll(".toast.fault")].some((n) => n.textContent.includes("Notification 999"))`)
}

func TestAUserIsErasedOnlyAfterTheirIdIsTyped(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.notify("gone", "m")
	b := p.console(1280)
	b.write("#who", "1\r")
	b.until("the user is shown", `document.querySelector(".history") !== null`)
	b.click(`[data-act="erase"]`)
	b.until("it asks for the id", `document.getElementById("confirm").open && document.getElementById("confirm-yes").disabled && !document.querySelector(".typed").hidden`)
	b.accessible("the question before a user is erased")
	b.write("#confirm-typed", "12")
	if !run[bool](b, `document.getElementById("confirm-yes").disabled`) {
		t.Error("another id is enough")
	}
	run[bool](b, `(() => { const f = document.getElementById("confirm-typed"); f.value = ""; return true; })()`)
	b.write("#confirm-typed", "1")
	b.click("#confirm-yes")
	b.until("the user is erased", `[...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("User 1 is erased"))`)
	b.until("nothing is listed", `document.querySelector(".history") === null && document.querySelector("#person .none") !== null`)
	b.until("it is in the audit log", `document.getElementById("audit").textContent.includes("erased a user")`)
	p.counts(0, 0)
	b.click(`[data-act="disconnect"]`)
	b.until("other questions ask for no id", `document.getElementById("confirm").open && document.querySelector(".typed").hidden && !document.getElementById("confirm-yes").disabled`)
}

func TestTheConsoleFitsAPhone(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.device("a-user-id-without-any-blank-that-is-rather-long-for-a-phone@example.org", "a-client-id-without-any-blank-that-is-rather-long-for-a-phone-0123456789")
	p.call("POST", "/reports", `{"id": 2, "title": "Phishing: https://an-address-without-any-blank.example.org/that/goes/on/and/on", "created_by": 1}`)
	p.call("PUT", "/admin/reports/2/status", `{"status_id":2}`)
	for _, scheme := range []string{"light", "dark"} {
		b := p.console(390)
		b.prefers(scheme)
		b.until("all panels are filled", `["#connections td", "#reports td", "#audit td", "#nodes li"].every((s) => document.querySelector(s))`)
		b.write("#who", "1\r")
		b.until("the user is shown", `document.querySelector(".history .link") !== null`)
		b.click(".history .link")
		b.until("a notification is explained", `document.querySelector(".history .explanation") !== null`)
		for _, list := range []string{"absent", "connected"} {
			run[bool](b, `document.querySelector('[data-list="`+list+`"]').click() ?? true`)
			b.until("the list is drawn", `document.querySelector('[data-list="`+list+`"]').ariaPressed === "true" && document.querySelector("#connections > *") !== null`)
			if over := run[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
				t.Errorf("%s, %s devices: %d px have to be scrolled sideways", scheme, list, over)
			}
			if cut := run[string](b, `[...document.querySelectorAll("main *")].filter((n) => n.scrollWidth > n.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(n).overflowX)).map((n) => n.outerHTML.slice(0, 80)).join("; ")`); cut != "" {
				t.Errorf("%s, %s devices: parts scroll sideways: %s", scheme, list, cut)
			}
		}
		b.accessible("the console on a phone, " + scheme)
	}
}

func TestTheConsoleIsAccessibleInLightAndDark(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.device("1", "phone")
	p.call("POST", "/reports", `{"id": 2, "title": "Phishing", "created_by": 1}`)
	p.call("PUT", "/admin/reports/2/status", `{"status_id":3}`)
	for _, scheme := range []string{"light", "dark"} {
		b := p.console(1280)
		b.prefers(scheme)
		b.until("all panels are filled", `["#connections td", "#reports td", "#audit td", "#nodes li", ".chart .stroke[d]"].every((s) => document.querySelector(s))`)
		b.write("#who", "1\r")
		b.until("the user is shown", `document.querySelector(".history .link") !== null && document.querySelector("#devices code") !== null`)
		b.click(".history .link")
		b.until("a notification is explained", `document.querySelector(".history .explanation") !== null`)
		b.accessible("the console, " + scheme)
		b.do(chromedp.Reload())
	}
}
