package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Examples:

    source <(falconbridge completion bash)

    falconbridge completion bash > /etc/bash_completion.d/falconbridge

    falconbridge completion zsh > "${fpath[1]}/_falconbridge"

    falconbridge completion fish > ~/.config/fish/completions/falconbridge.fish`
}

func (completionCmd) scope() []string { return nil }

// Run prints a script that gets the candidates from the program itself (complete), so a
// script that was installed once also works with later versions.
func (c completionCmd) Run(p *program) error {
	_, err := fmt.Fprint(p.out, completionScripts[c.Shell])
	return err
}

// If the program returns no candidates, the shells complete file names. Bash splits words at
// = and : as well, which is harmless because every value is a single word.
var completionScripts = map[string]string{
	"bash": `# falconbridge completion for bash
_falconbridge() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _falconbridge falconbridge
`,
	"zsh": `#compdef falconbridge
# falconbridge completion for zsh
_falconbridge() {
    local line
    local -a found
    while IFS= read -r line; do
        found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done < <("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe falconbridge found
    else
        _files
    fi
}
if [ "$funcstack[1]" = _falconbridge ]; then
    _falconbridge "$@"
else
    compdef _falconbridge falconbridge
fi
`,
	"fish": `# falconbridge completion for fish
function __falconbridge_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found ($words[1] complete -- $words[2..-1] 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c falconbridge -f -a '(__falconbridge_complete)'
`,
}

// completeCmd is the command that the scripts call.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints the candidates for the last word, one per line, each followed
// by a tab and its description.
func (c completeCmd) Run(p *program, app *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, w := range complete(app.Model.Node, words) {
		if _, err := fmt.Fprintf(p.out, "%s\t%s\n", w.word, w.help); err != nil {
			return err
		}
	}
	return nil
}

// candidate is a word to which the last word may be completed.
type candidate struct{ word, help string }

// wordsOf returns the values of a flag or an argument: those of kong's enums, those in
// the table of settings, and a few that neither knows.
func wordsOf(v *kong.Value) []string {
	if v.Enum != "" {
		return v.EnumSlice()
	}
	for _, s := range config.Settings() {
		if s.Flag == v.Name {
			return s.Words
		}
	}
	return map[string][]string{
		"kind":  kinds(),
		"scope": bridge.AllScopes.Names(),
	}[v.Name]
}

func kinds() (words []string) {
	for _, k := range bridge.BuiltInKinds() {
		words = append(words, string(k))
	}
	return words
}

// complete returns the candidates for the last of words, given the words before
// it. None means that anything is possible, such as a file name.
func complete(root *kong.Node, words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	at := position{node: root}
	for _, w := range before {
		at.advance(w)
	}
	hideUnused(root, at.node)
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

// position is a position in a command line.
type position struct {
	node  *kong.Node
	value *kong.Value // expected next, of the flag before; nil: none
	args  int         // positional arguments seen
}

// advance moves past one word.
func (p *position) advance(word string) {
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

// words returns the commands and arguments that are possible here.
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

// flags returns the flags that the command uses, as the help shows them.
func (p *position) flags() (all []candidate) {
	for n := p.node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if !f.Hidden {
				all = append(all, candidate{"--" + f.Name, f.Help})
			}
		}
	}
	return all
}

// flag returns the flag that word names, with or without a value; nil: none.
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
	for _, w := range wordsOf(v) {
		all = append(all, candidate{word: w})
	}
	return all
}
