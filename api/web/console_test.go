package web

import "testing"

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
	b.until("both connections are listed", `document.querySelectorAll("#connections tbody tr").length === 2`)
	b.until("a node is listed", `document.querySelectorAll("#nodes li").length === 1`)

	b.write("#who", "1\r")
	b.until("the user is shown", `document.getElementById("test-title") !== null`)
	b.click(".stack .primary")
	inbox.until("the test notification arrives", newest+` === "Test"`)
	b.until("the console hears it, too", `document.querySelector("#stream li span")?.textContent === "Test" && document.querySelector(".history strong")?.textContent === "Test"`)

	run[bool](b, `(() => { const s = document.querySelector("#reports select"); s.value = "2"; s.dispatchEvent(new Event("change")); return true; })()`)
	inbox.until("the decision arrives", newest+` === "El estado de su reporte ha cambiado a: Aprobado"`)
	b.until("the console says so", `[...document.querySelectorAll(".toast")].some((n) => n.textContent.includes("notification 2"))`)
	b.accessible("the console")

	// Ending the token ends the inbox, for good.
	b.click(".danger:nth-of-type(2)")
	b.until("it asks first", `document.getElementById("confirm").open`)
	b.accessible("the question")
	b.click("#confirm-yes")
	inbox.until("the inbox is told", `!document.getElementById("fault").hidden`)
}

func TestTheConsoleIsForOperators(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	b := newTab(t, 390, "en")
	b.open(p.url + "/console#token=" + p.token("--user", "1"))
	b.until("it says what is missing", `document.getElementById("fault").textContent.includes("scope admin")`)
	if !run[bool](b, `document.getElementById("board").hidden`) {
		t.Error("the board is shown to somebody who is no operator")
	}
	b.accessible("the gate")
}
