package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// inTerminal runs cmd with a terminal as its stdout and stderr, and returns what it
// shows. extra overrides the environment of cmd.
func inTerminal(t *testing.T, cmd *exec.Cmd, env ...string) *process {
	t.Helper()
	p, _ := atTerminal(t, cmd, false, env...)
	return p
}

// atTerminal is inTerminal with stdin as well, if typed is set: what is
// written to keys is then typed.
func atTerminal(t *testing.T, cmd *exec.Cmd, typed bool, env ...string) (_ *process, keys io.Writer) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	p := &process{cmd: cmd, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = tty, tty
	if typed {
		cmd.Stdin = tty
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(append(slices.Clip(cmd.Env), "TERM=xterm", "NO_COLOR="), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() { _, _ = io.Copy(&p.out, master); close(drained) }() // ends when the last holder of the terminal does
	go func() { err := cmd.Wait(); <-drained; p.done <- err; close(p.done) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.done })
	return p, master
}

func TestATerminalShowsWords(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	escape := regexp.MustCompile("\x1b")
	for name, tt := range map[string]struct {
		user   string
		args   []string
		env    []string
		words  bool
		colour bool
	}{
		"in colour":                {user: "c", words: true, colour: true},
		"without, where NO_COLOR":  {user: "n", env: []string{"NO_COLOR=1"}, words: true},
		"without, where TERM=dumb": {user: "d", env: []string{"TERM=dumb"}, words: true},
		"JSON, where asked for":    {user: "j", args: []string{"--json"}},
	} {
		t.Run(name, func(t *testing.T) {
			tail := inTerminal(t, p.Command(append([]string{"tail", "--user=" + tt.user, "--count=1"}, tt.args...)...), tt.env...)
			tail.says(t, "subscribed")
			send := inTerminal(t, p.Command(append([]string{"send", "--user=" + tt.user, "--title=Hola", "--message=Su reporte"}, tt.args...)...), tt.env...)
			send.wait(t)
			tail.wait(t)
			sent, got := send.out.String(), tail.out.String()
			if words := strings.Contains(sent, "✓") && !strings.Contains(sent, "{"); words != tt.words || !strings.Contains(sent, "Notificación creada correctamente") {
				t.Errorf("send shows %q", sent)
			}
			if words := strings.Contains(got, "#1 ") && !strings.Contains(got, "{"); words != tt.words || !strings.Contains(got, "Hola") {
				t.Errorf("tail shows %q", got)
			}
			if tt.words && (escape.MatchString(sent) != tt.colour || escape.MatchString(got) != tt.colour) {
				t.Errorf("colour is not %v in %q and %q", tt.colour, sent, got)
			}
		})
	}
}

func TestAnItemIsShown(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 10, 24, 2, 21, 32, 0, time.UTC).Local().Format("2006-01-02 15:04:05")
	item := func(more string) string {
		return `{"id":27,"seq":3,"kind":"message","title":"T","message":"M","created_by":1,"created_at":"2025-10-24T02:21:32.000Z","read_at":null` + more + `}`
	}
	for name, tt := range map[string]struct {
		item   string
		colour bool
		want   string
	}{
		"plain":          {item(""), false, "#3 T\n   M\n   " + at + " · message\n"},
		"with all":       {item(`,"report_id":2,"status_id":2,"data":{"a":1}`), false, "#3 T\n   M\n   " + at + " · message · report 2 · {\"a\":1}\n"},
		"approved":       {item(`,"status_id":2`), true, "\x1b[2m#3 \x1b[0m\x1b[1;32mT\x1b[0m\n   M\n   \x1b[2m" + at + " · message\x1b[0m\n"},
		"rejected":       {item(`,"status_id":3`), true, "\x1b[2m#3 \x1b[0m\x1b[1;31mT\x1b[0m\n   M\n   \x1b[2m" + at + " · message\x1b[0m\n"},
		"many lines":     {strings.Replace(item(""), `"M"`, `"eins\r\nzwei"`, 1), false, "#3 T\n   eins\n   zwei\n   " + at + " · message\n"},
		"a hostile text": {strings.Replace(item(""), `"T"`, `"\u001b]0;x\u0007\u009b2J\u202eab"`, 1), false, "#3 \ufffd]0;x\ufffd\ufffd2J\ufffdab\n   M\n   " + at + " · message\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := style{tt.colour}.show([]byte(tt.item))
			if err != nil || string(got) != tt.want {
				t.Errorf("shows %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := (style{}).show([]byte("no item")); err == nil {
		t.Error("what is no item is shown")
	}
}

func TestProgressPrintsFewLines(t *testing.T) {
	t.Parallel()
	var live, log buffer
	p := &progress{w: &live, live: true}
	p.at("reports", 1, 2)
	p.at("reports", 2, 2)
	p.end()
	if want := "\r\x1b[Kreports: 1 of 2 (50 %)\r\x1b[Kreports: 2 of 2 (100 %)\r\x1b[K"; live.String() != want {
		t.Errorf("in a terminal: %q, want %q", live.String(), want)
	}
	p = newProgress(&log)
	p.at("reports", 1, 2)
	p.last = p.last.Add(-time.Minute)
	p.at("reports", 2, 2)
	p.end()
	if want := "reports: 2 of 2 (100 %)\n"; log.String() != want {
		t.Errorf("elsewhere: %q, want %q", log.String(), want)
	}
}
