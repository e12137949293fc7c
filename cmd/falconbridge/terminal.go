package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"

	"github.com/mattn/go-isatty"
)

// terminal reports whether w shows to a person what is written to it.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// style paints text; the zero value leaves it plain.
type style struct{ colour bool }

// styleOf is colour where w is a terminal that has it and nobody said no
// (https://no-color.org).
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

// harmless is text without what a terminal would obey: control characters, and
// the marks that turn the direction of what follows. Line ends become blanks.
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

// notes is a log for a person at a terminal: what happened, without time and level.
type notes struct {
	w     io.Writer
	style style
}

// clientLog is what the client commands tell beside their results.
func clientLog(w io.Writer) *slog.Logger {
	if terminal(w) {
		return slog.New(notes{w, styleOf(w)})
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// Enabled leaves out what is for debugging.
func (notes) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle writes one line. The writer takes it whole, so that lines never mix.
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
