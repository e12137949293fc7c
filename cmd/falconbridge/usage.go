package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// negative is how a number or a time below zero begins. No flag of this program does.
var negative = regexp.MustCompile(`^-\.?[0-9]`)

// joinNegative writes --flag -1 as --flag=-1. The parser would take -1 for a flag
// and speak of that, before the setting's own check can say what is wrong with it.
func joinNegative(args []string) []string {
	var joined []string
	for i, a := range args {
		if a == "--" {
			return append(joined, args[i:]...)
		}
		if last := len(joined) - 1; last >= 0 && negative.MatchString(a) && strings.HasPrefix(joined[last], "--") && !strings.Contains(joined[last], "=") {
			joined[last] += "=" + a
			continue
		}
		joined = append(joined, a)
	}
	return joined
}

// misused is the command whose help tells how it is called: the one that was named,
// or the program where none was.
func misused(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if cmd := p.Context.Selected(); cmd != nil && (cmd.Parent == nil || cmd.Parent.DefaultCmd != cmd) {
			return cmd.FullPath()
		}
	}
	return "falconbridge"
}
