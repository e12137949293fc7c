package web

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestTheConsoleShowsAndActs(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.call("POST", "/reports", `{"id": 2, "title": "Página de phishing detectada", "created_by": 1}`)
	inbox := newTab(t, 390, "es")
	inbox.open(p.url + "/#token=" + p.token("--user", "1"))
	inbox.until("the inbox is live", isLive)

	b := newTab(t, 1280, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "ops", "--scope", "admin"))
	b.until("the console is live", isLive)
	b.until("the inbox is listed, the console's own connection is not", `document.querySelectorAll("#connections tbody tr").length === 1`)
	b.until("a node is listed", `document.querySelectorAll("#nodes li").length === 1`)

	b.write("#who", "1\r")
	b.until("the user is shown", `document.getElementById("test-title") !== null`)
	b.click(".stack .primary")
	inbox.until("the test notification arrives", newest+` === "Test"`)
	b.until("the console hears it, too", `document.querySelector("#stream .what")?.textContent === "Test" && document.querySelector(".history strong")?.textContent === "Test"`)

	run[bool](b, `(() => { const s = document.querySelector("#reports select"); s.value = "2"; s.dispatchEvent(new Event("change")); return true; })()`)
	b.until("it asks first", `document.getElementById("confirm").open`)
	b.accessible("the question before a decision")
	b.click("#confirm-yes")
	inbox.until("the decision arrives", newest+` === "El estado de su reporte ha cambiado a: Aprobado"`)
	b.until("the console says so", `[...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("Report 2 changed; user 1 is notified with number 2"))`)
	b.accessible("the console")

	// Ending the token ends the inbox, for good.
	b.click(`[data-act="revoke"]`)
	b.until("it asks first", `document.getElementById("confirm").open`)
	b.accessible("the question")
	b.click("#confirm-yes")
	inbox.until("the inbox is disconnected", `document.getElementById("connection").dataset.state === "ended"`)
}

func TestTheConsoleIsForOperators(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	b := newTab(t, 390, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "1"))
	b.until("it says what is missing", `document.getElementById("fault").textContent.includes("scope admin")`)
	if !run[bool](b, `document.getElementById("board").hidden`) {
		t.Error("the board is shown to a user who is not an operator")
	}
	b.accessible("the sign-in")
}

// The wrong user would be notified, disconnected or revoked if the actions were for one
// user while the field above them, or the panel, shows another.
func TestTheConsoleActsOnTheUserShown(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	b := newTab(t, 1280, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "ops", "--scope", "admin"))
	b.until("the console is live", isLive)
	const named = `(user) => ["h3", ".stack .primary", ".danger"].every((s) => [...document.querySelectorAll("#person " + s)].every((n) => n.textContent.includes("user " + user)) && document.querySelector("#person " + s))`
	const noActions = `document.querySelector("#person button") === null && document.querySelector("#person .none") !== null`

	b.write("#who", "2\r")
	b.until("headings and buttons name user 2", `Boolean((`+named+`)(2))`)
	b.write("#who", "1")
	b.until("while another id is typed, nothing can be done to user 2", noActions)
	b.do(chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent(kb.Backspace))
	b.write("#who", "1\r")
	b.until("headings and buttons name user 1", `Boolean((`+named+`)(1))`)
	b.click(".stack .primary")
	b.until("the toast names user 1", `[...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("Stored for user 1 as number 1"))`)
	p.counts(1, 1)

	b.click("#person .danger")
	b.until("the question names user 1", `document.getElementById("confirm").open && document.getElementById("confirm-title").textContent === "Disconnect user 1?" && document.getElementById("confirm-yes").textContent === "Disconnect user 1"`)
	b.click("#confirm-no")

	run[bool](b, `(() => { const w = document.getElementById("who"); w.value = "no/user"; document.getElementById("find").requestSubmit(); return true; })()`)
	b.until("it says that this id is none", `[...document.querySelectorAll(".toast.fault")].some((n) => n.textContent.includes("User no/user"))`)
	b.until("an invalid id leaves no actions on user 1", noActions)
}

func TestAReportsStatusChangesOnlyAfterConfirmation(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.call("POST", "/reports", `{"id": 2, "title": "Página <b>falsa</b>", "created_by": 1}`)
	b := newTab(t, 1280, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "ops", "--scope", "admin"))
	b.until("the report is listed", `document.querySelector("#reports select") !== null`)
	choose := func() {
		b.do(chromedp.Focus(chromedp.CSS("#reports select")), chromedp.KeyEvent(kb.ArrowDown))
		b.until("it asks first", `document.getElementById("confirm").open`)
	}
	choose()
	asked := run[string](b, `document.getElementById("confirm").textContent`)
	for _, want := range []string{
		"Set report 2 to Approved?", "user 1",
		"El estado de su reporte ha cambiado a: Aprobado",
		"El estado de su reporte titulado Página <b>falsa</b> ha sido actualizado a Aprobado",
	} {
		if !strings.Contains(asked, want) {
			t.Errorf("the question does not name %q: %s", want, asked)
		}
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("refused, it is as before", `!document.getElementById("confirm").open && document.querySelector("#reports select").value === "1"`)
	p.counts(0, 0)
	choose()
	b.click("#confirm-yes")
	b.until("it is changed", `document.querySelector("#reports select").value === "2" && [...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("Report 2"))`)
	p.counts(1, 1)
}

func TestRightToLeftTextIsAlignedRight(t *testing.T) {
	t.Parallel()
	const title, message = "تم تغيير حالة بلاغك", "مرحبا"
	p := startProgram(t)
	p.call("POST", "/reports", `{"id": 2, "title": "`+title+`", "created_by": 1}`)
	inbox := newTab(t, 390, "en")
	inbox.open(p.url + "/#token=" + p.token("--user", "1"))
	inbox.until("the inbox is live", isLive)
	b := newTab(t, 1280, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "ops", "--scope", "admin"))
	b.until("the console is live", isLive)
	p.notify(title, message)
	rightToLeft := func(b *tab, selectors ...string) {
		t.Helper()
		for _, s := range selectors {
			b.until(s+" runs from right to left", `(() => { const n = document.querySelector(`+"`"+s+"`"+`); return n !== null && getComputedStyle(n).direction === "rtl"; })()`)
		}
	}
	rightToLeft(inbox, ".item .title", ".item .message")
	run[bool](inbox, `document.querySelector(".inbox").style.marginTop = "1000px", true`)
	p.notify(title, message)
	rightToLeft(inbox, ".toast strong", ".toast span")
	b.write("#who", "1\r")
	rightToLeft(b, "#stream .what", ".history strong", ".history p", "#reports td.text span")
	run[bool](b, `(() => { const t = document.getElementById("test-title"); t.value = "`+title+`"; return true; })()`)
	rightToLeft(b, "#test-title")
}
