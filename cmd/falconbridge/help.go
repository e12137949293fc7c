package main

import (
	"slices"

	"github.com/alecthomas/kong"
)

const about = `Delivers notifications to people's devices over MQTT. What was answered with 201 is never lost.

Without a key it starts in development mode: SQLite, loopback only, and a page address to open.

Examples:

    falconbridge

    falconbridge tail --user 1

    falconbridge send --user 1 --title "Hola" --message "Su reporte fue revisado"

    DATABASE_URL=postgres://falcon@db/falcon falconbridge --jwt-secret-file /run/secrets/jwt`

// groups are the headings of the settings in the help.
var groups = []kong.Group{
	{Key: "listen", Title: "Listeners:"},
	{Key: "store", Title: "Storage and other nodes:"},
	{Key: "keys", Title: "Keys (none: development mode):"},
	{Key: "limits", Title: "Limits and names:"},
	{Key: "other", Title: "Times and words:"},
}

// groupsOf tells which settings matter to a command; those not listed take all.
var groupsOf = map[string][]string{
	"migrate":     {"store"},
	"backup":      {"store"},
	"restore":     {"store"},
	"import":      {"store"},
	"token":       {"keys"},
	"send":        {},
	"tail":        {},
	"bench":       {},
	"healthcheck": {},
	"completion":  {},
	"version":     {},
}

// printHelp leaves out the settings that do not matter to the command, although
// every command takes all of them.
func printHelp(o kong.HelpOptions, ctx *kong.Context) error {
	if cmd := ctx.Selected(); cmd != nil {
		if shown, limited := groupsOf[command(cmd)]; limited {
			for _, f := range ctx.Model.Flags {
				if f.Group != nil && !slices.Contains(shown, f.Group.Key) {
					f.Hidden = true
				}
			}
		}
	}
	return kong.DefaultHelpPrinter(o, ctx)
}
