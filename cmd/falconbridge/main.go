// Falconbridge delivers notifications to people's devices over MQTT and never
// loses one that it answered with 201.
//
// This package only wires the rooms together: one file a command, settings.go
// and the check files for what can be set, start.go and drain.go for the life
// of the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// commands is the command line.
type commands struct {
	Settings settings `embed:""`

	Serve       serveCmd       `cmd:"" default:"withargs" help:"Run the server; also what the program does without a command."`
	Migrate     migrateCmd     `cmd:"" help:"Change the database's schema, or tell what would be changed."`
	Backup      backupCmd      `cmd:"" help:"Copy the SQLite database, which may be in use, to a new file."`
	Restore     restoreCmd     `cmd:"" help:"Put a copy in place of the SQLite database, with no server running."`
	Import      importCmd      `cmd:"" help:"Load an application's reports, settings and past notifications."`
	Token       tokenCmd       `cmd:"" help:"Print a token signed with the configured key."`
	Send        sendCmd        `cmd:"" help:"Post one notification over REST."`
	Tail        tailCmd        `cmd:"" help:"Connect as a device (MQTT 5) and print notifications."`
	Bench       benchCmd       `cmd:"" help:"Load a running server and measure it."`
	Config      configCmd      `cmd:"" help:"Print the effective settings, secrets masked; exit 1 and name each bad one."`
	Healthcheck healthcheckCmd `cmd:"" help:"Exit 0 when /readyz answers 200."`
	Version     versionCmd     `cmd:"" help:"Print release, commit and Go version."`
	Completion  completionCmd  `cmd:"" help:"Print what makes a shell complete this program's command lines."`
	Complete    completeCmd    `cmd:"" hidden:""`

	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print release, commit and Go version."`
}

// program is what a command runs with.
type program struct {
	settings *settings
	unknown  []string  // FALCON_… variables that no flag reads
	out      io.Writer // results only
	err      io.Writer // logs and errors
}

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errReported ends a command whose fault is already on the screen.
var errReported = errors.New("reported")

func run(args []string, stdout, stderr io.Writer) int {
	ignoreEmpty()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("falconbridge"),
		kong.Description(about),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": build()},
		kong.ExplicitGroups(groups),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.DefaultEnvars(strings.TrimSuffix(envPrefix, "_")),
	)
	if err != nil {
		return fail(stderr, err, exitFailed)
	}
	ctx, err := parser.Parse(joinNegative(args))
	if err != nil {
		return fail(stderr, fmt.Errorf("%w; see: %s --help", err, misused(err)), exitUsage)
	}
	c.Settings.typed = typed(ctx)
	p := &program{settings: &c.Settings, unknown: unknownVariables(ctx.Model), out: stdout, err: stderr}
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

// interrupted is a context that the first SIGINT or SIGTERM ends. A second one
// kills the program, as if it had not been listening.
func interrupted() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// typed names the flags that stand on the command line.
func typed(ctx *kong.Context) map[string]bool {
	names := make(map[string]bool)
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			names[p.Flag.Name] = true
		}
	}
	return names
}

// ignoreEmpty forgets empty variables: compose files and charts pass on what
// nobody set as an empty text.
func ignoreEmpty() {
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if value == "" && (strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, "DATABASE_URL")) {
			_ = os.Unsetenv(name)
		}
	}
}

// unknownVariables are the FALCON_… variables that no flag reads: a misspelled
// name, most likely. They are told, not refused: Kubernetes puts variables named
// after its services into every container.
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
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
