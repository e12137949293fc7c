package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// candidate is a word that may come next.
type candidate struct{ word, help string }

// valuesOf are the values of settings that are checked after parsing, and so are
// no enums to kong.
var valuesOf = map[string][]string{
	"bus":        {busAuto, "redis://"},
	"kind":       {"message", "report.status"},
	"locale":     {"es", "en"},
	"log-format": {"text", "json"},
	"log-level":  {"debug", "info", "warn", "error"},
	"scope":      {"notifications:read", "notifications:write", "reports:write", "admin"},
}

// complete tells what the last of words may become, given those before it. None:
// anything, a file name perhaps.
func complete(root *kong.Node, words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	at := position{node: root}
	for _, w := range before {
		at.take(w)
	}
	var all []candidate
	switch {
	case at.value != nil:
		all = values(at.value)
	case strings.HasPrefix(last, "-"):
		name, value, found := strings.Cut(last, "=")
		if f := at.flag(name); found && f != nil {
			for _, c := range values(f.Value) {
				c.word = name + "=" + c.word
				all = append(all, c)
			}
			last = name + "=" + value
			break
		}
		all = at.flags()
	default:
		all = at.words()
	}
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.word, last) })
}

// position is where a command line stands.
type position struct {
	node  *kong.Node
	value *kong.Value // of the flag before, which comes next; nil: none
	args  int         // positional arguments seen
}

// take goes over one word.
func (p *position) take(word string) {
	if p.value != nil {
		if word != "=" { // bash cuts --flag=value in three
			p.value = nil
		}
		return
	}
	if strings.HasPrefix(word, "-") {
		if f := p.flag(word); f != nil && !f.IsBool() && !strings.Contains(word, "=") {
			p.value = f.Value
		}
		return
	}
	for _, c := range p.node.Children {
		if c.Name == word {
			p.node = c
			return
		}
	}
	p.args++
}

// words are the commands and arguments that may stand here.
func (p *position) words() (all []candidate) {
	for _, c := range p.node.Children {
		if !c.Hidden {
			all = append(all, candidate{c.Name, c.Help})
		}
	}
	if p.args < len(p.node.Positional) {
		all = append(all, values(p.node.Positional[p.args])...)
	}
	return all
}

// flags are those that matter here, as the help shows them.
func (p *position) flags() (all []candidate) {
	shown, limited := groupsOf[command(p.node)]
	for n := p.node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if f.Hidden || limited && f.Group != nil && !slices.Contains(shown, f.Group.Key) {
				continue
			}
			all = append(all, candidate{"--" + f.Name, f.Help})
		}
	}
	return all
}

// flag is the one that word names, with or without a value; nil: none.
func (p *position) flag(word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for n := p.node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if f.Name == name {
				return f
			}
		}
	}
	return nil
}

func values(v *kong.Value) (all []candidate) {
	words := valuesOf[v.Name]
	if v.Enum != "" {
		words = v.EnumSlice()
	}
	for _, w := range words {
		all = append(all, candidate{word: w})
	}
	return all
}

// command is the name of the command that n is, or belongs to.
func command(n *kong.Node) string {
	for n.Parent != nil && n.Parent.Type == kong.CommandNode {
		n = n.Parent
	}
	return n.Name
}
