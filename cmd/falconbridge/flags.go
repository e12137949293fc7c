package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/falconalert/falconbridge/internal/config"
)

const about = `Delivers notifications to people's devices over MQTT. A notification that was accepted with 201 is never lost.

Without a key it starts in development mode: SQLite, loopback only, and a page address to open.

Examples:

    falconbridge

    falconbridge tail --user 1

    falconbridge send --user 1 --title "Hello" --message "Your report was reviewed"

    DATABASE_URL=postgres://falcon@db/falcon falconbridge --jwt-secret-file /run/secrets/jwt`

// settingFlags returns the flags of the table of settings, as a struct for kong.
func settingFlags() any {
	var fields []reflect.StructField
	for i, s := range config.Settings() {
		kind := reflect.TypeFor[string]()
		if s.Toggle {
			kind = reflect.TypeFor[toggle]()
		}
		help := strings.ReplaceAll(s.Help, "`", "")
		switch {
		case s.Default != "":
			help += " Default " + s.Default + "."
		case s.Unset != "":
			help += " Default: " + strings.ReplaceAll(s.Unset, "`", "") + "."
		}
		tag := fmt.Sprintf("name:%q env:%q group:%q help:%q", s.Flag, strings.Join(s.Env, ","), s.Group, help)
		if s.Form != "" {
			tag += fmt.Sprintf(" placeholder:%q", s.Form)
		}
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("Setting%d", i), Type: kind, Tag: reflect.StructTag(tag)})
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// groups are the headings of the settings in the help.
func groups() (all []kong.Group) {
	for _, g := range config.Groups {
		title := string(g) + ":"
		if g == config.KeysGroup {
			title = "Keys (none: development mode):"
		}
		all = append(all, kong.Group{Key: string(g), Title: title})
	}
	return all
}

// toggle is a boolean flag, kept as text until it is checked.
type toggle string

// IsBool allows the flag without a value.
func (*toggle) IsBool() bool { return true }

// Decode reads the value, which is "true" if the flag has none.
func (t *toggle) Decode(ctx *kong.DecodeContext) error {
	*t = "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		*t = toggle(fmt.Sprint(ctx.Scan.Pop().Value))
	}
	return nil
}

// typed returns the flags on the command line and their values.
func typed(ctx *kong.Context) map[string]string {
	values := make(map[string]string)
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			values[p.Flag.Name] = fmt.Sprint(p.Flag.Target.Interface())
		}
	}
	return values
}

// scoped is a command that uses some settings only: its help and the completion of
// its command line show no others, although every command accepts all of them.
type scoped interface{ scope() []string }

// scopeOf returns the settings that the command n uses. all reports whether those are
// all settings.
func scopeOf(n *kong.Node) (scope []string, all bool) {
	for ; n != nil; n = n.Parent {
		if n.Target.IsValid() && n.Target.CanAddr() {
			if c, ok := n.Target.Addr().Interface().(scoped); ok {
				return c.scope(), false
			}
		}
	}
	return nil, true
}

// printHelp leaves out the settings that the command does not use.
func printHelp(o kong.HelpOptions, ctx *kong.Context) error {
	hideUnused(ctx.Model.Node, ctx.Selected())
	return kong.DefaultHelpPrinter(o, ctx)
}

// ignoring is a command that accepts flags which have no effect on it, because all client
// commands have them: its help and completion leave them out.
type ignoring interface{ ignored() []string }

// hideUnused hides the flags of the settings that the command does not use, and those
// that it ignores.
func hideUnused(root, command *kong.Node) {
	scope, all := scopeOf(command)
	used := make(map[string]bool)
	for _, s := range config.Settings() {
		used[s.Flag] = all || s.In(scope)
	}
	for _, f := range root.Flags {
		if is, setting := used[f.Name]; setting {
			f.Hidden = !is
		}
	}
	if command == nil || !command.Target.CanAddr() {
		return
	}
	if c, ok := command.Target.Addr().Interface().(ignoring); ok {
		for _, f := range command.Flags {
			f.Hidden = f.Hidden || slices.Contains(c.ignored(), f.Name)
		}
	}
}

// negative matches the beginning of a negative number or time. No flag begins like that.
var negative = regexp.MustCompile(`^-\.?[0-9]`)

// joinNegative rewrites --flag -1 as --flag=-1. The parser would take -1 for a flag and
// report that, instead of the setting's own error.
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

// misused returns the command whose help explains the right usage: the one that was
// named, or the program if none was.
func misused(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if cmd := p.Context.Selected(); cmd != nil && (cmd.Parent == nil || cmd.Parent.DefaultCmd != cmd) {
			return cmd.FullPath()
		}
	}
	return "falconbridge"
}

// check reads the settings of a scope. It fails with a one-line error if any of them
// is invalid.
func (p *program) check(scope ...[]string) (*config.Config, error) {
	c, bad := p.settings.Check(slices.Concat(scope...))
	return c, bad.Err()
}

type configCmd struct{}

func (configCmd) Help() string {
	return `Example:

    FALCON_HTTP_ADDR=:9000 falconbridge config`
}

// Run prints the settings that serve would use, and the errors in them.
func (configCmd) Run(p *program) error {
	c, bad := p.settings.Check(config.All())
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, line := range c.Lines() {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range p.unknown {
		_, _ = fmt.Fprintf(p.err, "falconbridge: %s is not a known setting; is it misspelled?\n", name)
	}
	for _, b := range bad {
		_, _ = fmt.Fprintln(p.err, "falconbridge:", b)
	}
	if len(bad) > 0 {
		return errReported
	}
	return nil
}
