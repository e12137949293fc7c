// Falconbridge delivers notifications to people's devices over MQTT and never
// loses one that it accepted with 201.
//
// This package is the command line. The settings are in internal/config, the server is
// in internal/app, and the load generator behind bench in internal/bench.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/falconalert/falconbridge/internal/config"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// commands is the command line.
type commands struct {
	Serve       serveCmd       `cmd:"" default:"withargs" help:"Run the server. This is the default command."`
	Migrate     migrateCmd     `cmd:"" help:"Apply, undo or list migrations of the database's schema."`
	Backup      backupCmd      `cmd:"" help:"Copy the SQLite database to a new file, even while it is in use."`
	Restore     restoreCmd     `cmd:"" help:"Replace the SQLite database with a copy, while no server is running."`
	Import      importCmd      `cmd:"" help:"Load an application's reports, settings and past notifications."`
	Token       tokenCmd       `cmd:"" help:"Print a token signed with the configured key."`
	Send        sendCmd        `cmd:"" help:"Post one notification over REST."`
	Tail        tailCmd        `cmd:"" help:"Connect as a device (MQTT 5) and print notifications."`
	Explain     explainCmd     `cmd:"" help:"Report what happened to one notification."`
	Bench       benchCmd       `cmd:"" help:"Load a running server and measure it."`
	Config      configCmd      `cmd:"" help:"Print the effective settings, secrets masked; exit 1 and name each bad one."`
	Healthcheck healthcheckCmd `cmd:"" help:"Exit 0 if /readyz returns 200."`
	Version     versionCmd     `cmd:"" help:"Print the release, commit and Go version."`
	Completion  completionCmd  `cmd:"" help:"Print a completion script for a shell."`
	Complete    completeCmd    `cmd:"" hidden:""`

	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print the release, commit and Go version."`
}

// program is the environment in which a command runs.
type program struct {
	settings *config.Given
	typed    map[string]string // flags on the command line
	unknown  []string          // FALCON_… variables that no flag reads
	out      io.Writer         // results only
	err      io.Writer         // logs and errors
}

// has reports whether the flag was typed on the command line.
func (p *program) has(flag string) bool {
	_, typed := p.typed[flag]
	return typed
}

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errReported ends a command that has already printed its errors.
var errReported = errors.New("reported")

func run(args []string, stdout, stderr io.Writer) int {
	ignoreEmpty()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("falconbridge"),
		kong.Description(about),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": build()},
		kong.Embed(settingFlags()),
		kong.ExplicitGroups(groups()),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.DefaultEnvars(strings.TrimSuffix(config.EnvPrefix, "_")),
	)
	if err != nil {
		return fail(stderr, err, exitFailed)
	}
	ctx, err := parser.Parse(joinNegative(args))
	if err != nil {
		return fail(stderr, fmt.Errorf("%w; see: %s --help", err, misused(err)), exitUsage)
	}
	flags := typed(ctx)
	p := &program{settings: config.Read(flags, os.Environ()), typed: flags, unknown: unknownVariables(ctx.Model), out: stdout, err: stderr}
	if err := ctx.Run(p, parser); err != nil {
		return fail(stderr, err, exitFailed)
	}
	return 0
}

func fail(stderr io.Writer, err error, code int) int {
	if !errors.Is(err, errReported) {
		_, _ = fmt.Fprintln(stderr, "falconbridge:", err)
	}
	return code
}

// interrupted returns a context that the first SIGINT or SIGTERM cancels. A second one
// kills the program, as it would without a handler.
func interrupted() (context.Context, context.CancelFunc) {
	caught, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	// In this order: whoever sees ctx end may say that the next signal ends the program.
	context.AfterFunc(caught, func() { stop(); cancel() })
	return ctx, stop
}

// ignoreEmpty unsets empty variables, because compose files and charts pass on an unset
// variable as an empty one.
func ignoreEmpty() {
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if value == "" && (strings.HasPrefix(name, config.EnvPrefix) || strings.HasPrefix(name, "DATABASE_URL")) {
			_ = os.Unsetenv(name)
		}
	}
}

// unknownVariables returns the FALCON_… variables that no flag reads, misspelled ones
// most likely. They cause a warning and no error: Kubernetes puts variables named after
// its services into every container.
func unknownVariables(app *kong.Application) []string {
	known := make(map[string]bool)
	nodes := []*kong.Node{app.Node}
	for len(nodes) > 0 {
		n := nodes[0]
		nodes = append(nodes[1:], n.Children...)
		for _, f := range n.Flags {
			for _, e := range f.Envs {
				known[e] = true
			}
		}
	}
	var unknown []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, config.EnvPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

type versionCmd struct{}

func (versionCmd) Help() string {
	return `Example:

    falconbridge version`
}

func (versionCmd) scope() []string { return nil }

// Run prints the same as --version.
func (versionCmd) Run(p *program) error {
	_, err := fmt.Fprintln(p.out, build())
	return err
}

// release is set by the linker in builds of a release.
var release string

// version is the release, the module version or the commit the program was built
// from.
func version() string {
	info, _ := debug.ReadBuildInfo()
	if release != "" || info == nil {
		return cmp.Or(release, "unknown")
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return cmp.Or(commit(info), "devel")
}

// build describes the binary: release, commit and Go version.
func build() string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("falconbridge %s, commit %s, %s", version(), cmp.Or(commit(info), "unknown"), runtime.Version())
}

// commit returns the first 12 digits of the Git revision that the program was built from,
// plus "+" if the tree was modified, or "" if the build did not record it.
func commit(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + changed
}
