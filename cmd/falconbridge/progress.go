package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells how far long work is: in a terminal on one line that is written
// over, elsewhere on a line every few seconds, so that a log stays short.
type progress struct {
	w     io.Writer
	style style
	live  bool // a terminal
	every time.Duration
	last  time.Time
	shown bool // the line stands there
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, style: styleOf(w), live: terminal(w), every: 5 * time.Second, last: time.Now()}
	if p.live {
		p.every, p.last = 100*time.Millisecond, time.Time{}
	}
	return p
}

// at says that done of all things are. It may be called for every one.
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

// end takes the line away: the result follows.
func (p *progress) end() {
	if p.shown {
		p.shown = false
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
