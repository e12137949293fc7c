package main

import (
	"fmt"

	"github.com/alecthomas/kong"
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

// Run prints the shell's part. What may follow is asked of the program itself
// (complete), so a script that was installed once knows later versions, too.
func (c completionCmd) Run(p *program) error {
	_, err := fmt.Fprint(p.out, completionScripts[c.Shell])
	return err
}

// Where the program has nothing to say the shells complete file names. Bash
// takes = and : for ends of words; only values of one word are offered, so that
// does no harm.
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

// completeCmd is what the scripts ask.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints one word a line that may stand in place of the last one, with a tab
// and what it is.
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
