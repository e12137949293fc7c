package layout

import "strings"

// Module is the import path of this module.
const Module = "github.com/falconalert/falconbridge"

// Rule restricts what the files of some packages may import. It does not apply to tests, which
// wire real databases and brokers together. Each folder and path includes those below it.
type Rule struct {
	Folder string   // where the rule applies; "": everywhere
	Except []string // folders where it does not apply
	Never  []string // forbidden import paths
	Only   []string // the only folders of this module that may be imported; nil: all
	Std    bool     // outside this module, only the standard library may be imported
	Reason string
}

// Rules are the import rules of the repository.
var Rules = []Rule{
	{Folder: "bridge", Except: []string{"bridge/delivery", "bridge/token", "bridge/bus", "bridge/relay", "bridge/late", "bridge/push", "bridge/webhook"}, Only: []string{}, Std: true,
		Reason: "the domain imports no other package, so that each of them can be replaced"},
	{Folder: "bridge/delivery", Only: []string{"bridge"}, Never: []string{Module + "/bridge/token", Module + "/bridge/bus", Module + "/bridge/relay"}, Std: true,
		Reason: "the engine imports the domain only: its dependencies are its own interfaces"},
	{Except: []string{"bridge/delivery", "broker", "internal/app"}, Never: []string{Module + "/bridge/delivery"},
		Reason: "the broker drives the engine and the program wires it; everything else wakes devices through the domain"},
	{Folder: "bridge/token", Only: []string{"bridge"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "bridge/bus", Only: []string{"bridge", "internal/pgconnect", "internal/testserver"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "bridge/relay", Only: []string{"bridge"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "bridge/late", Only: []string{"bridge"}, Std: true,
		Reason: "which notifications are late does not depend on how devices are reached, or on the database"},
	{Folder: "bridge/push", Only: []string{"bridge", "internal/edge"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "bridge/webhook", Only: []string{"bridge"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "db", Only: []string{"bridge", "db", "internal/pgconnect", "internal/testserver"},
		Reason: "an adapter imports the domain, and no other adapter"},
	{Folder: "db", Never: []string{Module + "/bridge/token", Module + "/bridge/bus", Module + "/bridge/relay"},
		Reason: "the database stores what was allowed; the edges check rights, and the program wakes devices"},
	{Folder: "api", Only: []string{"bridge", "api", "internal"},
		Reason: "REST and MQTT meet in the domain only, so that either can be replaced"},
	{Folder: "broker", Only: []string{"bridge", "broker", "internal"},
		Reason: "REST and MQTT meet in the domain only, so that either can be replaced"},
	{Folder: "api", Never: []string{Module + "/bridge/bus", Module + "/bridge/relay"},
		Reason: "waking nodes is the domain's work"},
	{Folder: "broker", Never: []string{Module + "/bridge/bus", Module + "/bridge/relay"},
		Reason: "waking nodes is the domain's work"},
	{Except: []string{"cmd"}, Never: []string{Module + "/cmd"},
		Reason: "only the program wires; nothing imports the program"},

	{Except: []string{"broker"}, Never: []string{"github.com/mochi-mqtt", "github.com/pires/go-proxyproto"},
		Reason: "the engine and its traps are known in broker only"},
	{Except: []string{"api"}, Never: []string{"github.com/danielgtaylor/huma"},
		Reason: "HTTP shapes are known in api only"},
	{Except: []string{"db", "bridge/bus/postgres", "internal/pgconnect", "internal/testserver"}, Never: []string{"github.com/uptrace/bun"},
		Reason: "SQL is known in db only; pgconnect connects, the Postgres bus listens, and testserver makes databases"},
	{Except: []string{"internal/pgconnect", "bridge/bus/postgres"}, Never: []string{"github.com/jackc/pgx"},
		Reason: "pgx reads connection strings, logs in and listens; Bun's driver runs the queries"},
	{Folder: "internal/pgconnect", Only: []string{},
		Reason: "connecting is independent of the domain, so that every adapter of Postgres can use it"},
	{Folder: "internal/config", Only: []string{"bridge", "internal/edge", "internal/pgconnect"},
		Reason: "the table of settings imports what values mean, and nothing that runs"},
	{Folder: "internal/importer", Only: []string{"bridge", "db"},
		Reason: "an import reads a file and writes the log; it needs no server"},
	{Folder: "internal/edge", Only: []string{},
		Reason: "who may connect, and how often, does not depend on the request, so that every listener can use it"},
	{Except: []string{"bridge/push"}, Never: []string{"github.com/SherClockHolmes"},
		Reason: "what clients make the server call goes through one guarded client"},
	{Except: []string{"bridge/webhook"}, Never: []string{"github.com/standard-webhooks"},
		Reason: "webhooks are signed in one place"},
	{Except: []string{"db"}, Never: []string{"modernc.org/sqlite"},
		Reason: "SQL is known in db only"},
	{Except: []string{"bridge/bus/redis"}, Never: []string{"github.com/redis/go-redis"},
		Reason: "Redis is one bus among others"},
	{Except: []string{"bridge/relay", "cmd"}, Never: []string{"github.com/eclipse/paho.golang"},
		Reason: "the MQTT client is for the relay and the client commands"},
	{Except: []string{"cmd"}, Never: []string{"github.com/alecthomas/kong"},
		Reason: "flags are read in one place"},
	{Except: []string{"internal/tracing", "db"}, Never: []string{"go.opentelemetry.io"},
		Reason: "spans are named by their traceparent; what records them is known in one place, and to the hook of Bun"},
	{Folder: "internal/tracing", Only: []string{"bridge", "internal/edge"},
		Reason: "what records spans knows the domain's names of them, and nothing that runs"},
	{Except: []string{"bridge/token"}, Never: []string{"github.com/golang-jwt", "github.com/MicahParks"},
		Reason: "tokens are verified in one place"},
}

// Applies reports whether the rule applies to the files in folder.
func (r Rule) Applies(folder string) bool {
	if !within(folder, r.Folder) {
		return false
	}
	for _, e := range r.Except {
		if within(folder, e) {
			return false
		}
	}
	return true
}

// Allows reports whether the rule lets a file import path.
func (r Rule) Allows(path string) bool {
	for _, n := range r.Never {
		if within(path, n) {
			return false
		}
	}
	if path == Module || strings.HasPrefix(path, Module+"/") {
		return r.Only == nil || r.own(strings.TrimPrefix(path, Module+"/"))
	}
	return !r.Std || standard(path)
}

func (r Rule) own(folder string) bool {
	for _, o := range r.Only {
		if within(folder, o) {
			return true
		}
	}
	return false
}

// standard reports whether path belongs to the standard library. The first element of any other
// path has a dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// within reports whether path is folder or is below it. Every path is within "".
func within(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}
