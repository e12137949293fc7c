package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"

	"github.com/falconalert/falconbridge/bridge"
)

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// style paints text; the zero value leaves it plain.
type style struct{ colour bool }

// styleOf returns a style with colour where w is a terminal that supports it and the user
// has not turned it off (https://no-color.org).
func styleOf(w io.Writer) style {
	return style{terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The paints, as SGR parameters (ECMA-48 §8.3.117).
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (s style) paint(sgr, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// harmless returns text that a terminal only displays: control characters, and the marks
// that change the direction of writing, are replaced. Line ends become spaces.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, text)
}

// notes is a log handler for a terminal: messages without time and level.
type notes struct {
	w     io.Writer
	style style
}

// clientLog returns the log of the client commands; their results go to another stream.
func clientLog(w io.Writer) *slog.Logger {
	if terminal(w) {
		return slog.New(notes{w, styleOf(w)})
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// Enabled leaves out debug messages.
func (notes) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle writes one line with one call of Write, so that lines never mix.
func (n notes) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(", %s %s", a.Key, a.Value)
		return true
	})
	_, err := io.WriteString(n.w, n.style.paint(dim, harmless(line))+"\n")
	return err
}

// WithAttrs returns n: no client command gives its logger attributes.
func (n notes) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup returns n, likewise.
func (n notes) WithGroup(string) slog.Handler { return n }

// shown are the fields of an item that show prints.
type shown struct {
	Seq       uint64          `json:"seq"`
	Kind      string          `json:"kind"`
	Title     string          `json:"title"`
	Message   string          `json:"message"`
	CreatedAt time.Time       `json:"created_at"`
	ReportID  int64           `json:"report_id"`
	StatusID  bridge.Status   `json:"status_id"`
	Data      json.RawMessage `json:"data"`
}

// jsonLine returns an item as one line of JSON.
func jsonLine(item []byte) ([]byte, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, item); err != nil {
		return nil, err
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// show returns an item in readable form: seq and title, the message below, and the rest in a
// dim line.
func (s style) show(item []byte) ([]byte, error) {
	var n shown
	if err := json.Unmarshal(item, &n); err != nil {
		return nil, err
	}
	seq := fmt.Sprintf("#%d ", n.Seq)
	indent := "\n" + strings.Repeat(" ", len(seq))
	title := bold
	switch n.StatusID {
	case bridge.Approved:
		title = bold + ";" + green
	case bridge.Rejected:
		title = bold + ";" + red
	}
	out := s.paint(dim, seq) + s.paint(title, harmless(n.Title))
	for line := range strings.Lines(n.Message) {
		out += indent + harmless(strings.TrimRight(line, "\r\n"))
	}
	rest := n.CreatedAt.Local().Format("2006-01-02 15:04:05") + " · " + harmless(n.Kind)
	if n.ReportID != 0 {
		rest += fmt.Sprintf(" · report %d", n.ReportID)
	}
	if len(n.Data) > 0 {
		rest += " · " + harmless(string(n.Data))
	}
	return []byte(out + indent + s.paint(dim, rest) + "\n"), nil
}

// progress prints the progress of long work: in a terminal on one line that is
// overwritten, elsewhere on a new line every few seconds, so that a log stays short.
type progress struct {
	w     io.Writer
	style style
	live  bool // a terminal
	every time.Duration
	last  time.Time
	shown bool // the line is on the screen
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, style: styleOf(w), live: terminal(w), every: 5 * time.Second, last: time.Now()}
	if p.live {
		p.every, p.last = 100*time.Millisecond, time.Time{}
	}
	return p
}

// at reports that done of all items are finished. It is cheap enough to call for each item.
func (p *progress) at(what string, done, all int) {
	if time.Since(p.last) < p.every && (done < all || !p.live) {
		return
	}
	p.last = time.Now()
	text := fmt.Sprintf("%s: %d of %d (%d %%)", what, done, all, 100*done/max(all, 1))
	if p.live {
		p.shown = true
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", p.style.paint(dim, text)) // erase the line (ECMA-48 §8.3.41)
		return
	}
	_, _ = fmt.Fprintln(p.w, text)
}

// end erases the line, so that the result can follow.
func (p *progress) end() {
	if p.shown {
		p.shown = false
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
