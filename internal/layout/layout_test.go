package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// files calls f for every file of this project, with its path relative to the root.
func files(t *testing.T, f func(path string)) {
	t.Helper()
	skip := map[string]bool{".git": true, "node_modules": true, "vendor": true, "testdata": true, "data": true, "dist": true}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skip[d.Name()] {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ofAnotherModule reports whether the file belongs to another module, whose dependencies are not
// the program's.
func ofAnotherModule(path string) bool {
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func TestEveryPackageImportsOnlyWhatItMay(t *testing.T) {
	seen := 0
	files(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || ofAnotherModule(path) {
			return
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range Rules {
				if r.Applies(filepath.ToSlash(filepath.Dir(path))) && !r.Allows(imported) {
					t.Errorf("%s imports %s: %s", path, imported, r.Reason)
				}
			}
		}
	})
	if seen == 0 {
		t.Fatal("no Go file was found")
	}
}

func TestTheLinterKnowsEveryForbiddenImport(t *testing.T) {
	conf, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules {
		for _, path := range r.Never {
			if !bytes.Contains(conf, []byte("pkg: "+path+",")) {
				t.Errorf(".golangci.yml has no depguard rule for %s", path)
			}
		}
	}
}

func TestARuleForbidsWhatItSays(t *testing.T) {
	for name, tt := range map[string]struct {
		folder, imported string
		allowed          bool
	}{
		"the domain takes the standard library":          {"bridge", "encoding/json", true},
		"the domain takes nothing else":                  {"bridge", "golang.org/x/sync/errgroup", false},
		"the domain imports no adapter":                  {"bridge", Module + "/bridge/token", false},
		"the domain does not import the engine":          {"bridge", Module + "/bridge/delivery", false},
		"the engine imports the domain":                  {"bridge/delivery", Module + "/bridge", true},
		"the engine does not import tokens":              {"bridge/delivery", Module + "/bridge/token", false},
		"the broker drives the engine":                   {"broker", Module + "/bridge/delivery", true},
		"the api does not import the engine":             {"api", Module + "/bridge/delivery", false},
		"the database does not import the engine":        {"db", Module + "/bridge/delivery", false},
		"package token imports its library":              {"bridge/token", "github.com/golang-jwt/jwt/v5", true},
		"no other package imports it":                    {"api", "github.com/golang-jwt/jwt/v5", false},
		"the api imports the domain":                     {"api", Module + "/bridge", true},
		"the api imports tokens":                         {"api", Module + "/bridge/token", true},
		"the api does not import the broker":             {"api", Module + "/broker", false},
		"the api does not import the database":           {"api", Module + "/db", false},
		"the broker does not import the api":             {"broker", Module + "/api", false},
		"the broker does not import a bus":               {"broker", Module + "/bridge/bus/redis", false},
		"the broker imports mochi":                       {"broker", "github.com/mochi-mqtt/server/v2", true},
		"the program does not import mochi":              {"cmd/falconbridge", "github.com/mochi-mqtt/server/v2/packets", false},
		"the settings do not import the server":          {"internal/config", Module + "/internal/app", false},
		"the server wires all packages":                  {"internal/app", Module + "/broker", true},
		"the server reads no flags":                      {"internal/app", "github.com/alecthomas/kong", false},
		"an import needs no server":                      {"internal/importer", Module + "/internal/app", false},
		"the program wires all packages":                 {"cmd/falconbridge", Module + "/db", true},
		"the database does not import tokens":            {"db", Module + "/bridge/token", false},
		"the Postgres bus has a driver":                  {"bridge/bus/postgres", "github.com/uptrace/bun/driver/pgdriver", true},
		"the Redis bus has none":                         {"bridge/bus/redis", "github.com/uptrace/bun/driver/pgdriver", false},
		"a folder whose name only begins like a package": {"dbx", "github.com/uptrace/bun", false},
		"nothing imports the program":                    {"internal/testserver", Module + "/cmd/falconbridge", false},
	} {
		t.Run(name, func(t *testing.T) {
			allowed := true
			for _, r := range Rules {
				if r.Applies(tt.folder) && !r.Allows(tt.imported) {
					allowed = false
				}
			}
			if allowed != tt.allowed {
				t.Errorf("%s importing %s: allowed is %v", tt.folder, tt.imported, allowed)
			}
		})
	}
}

// A test that waits for the machine's clock is slow, and too quick on a busy machine. It waits
// for an event with a deadline, or moves a fake clock. The crash tests, whose faults last for a while,
// may let time pass, and so may what sends slowly on purpose.
func TestNoTestSleeps(t *testing.T) {
	const sendsSlowly = "TestTrickledConnectIsClosed"
	seen, exempt := 0, false
	files(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/crashtest/") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			seen++
			if fn.Name.Name == sendsSlowly {
				exempt = true
				continue
			}
			inSelect := make(map[ast.Stmt]bool)
			ast.Inspect(fn, func(n ast.Node) bool {
				if c, ok := n.(*ast.CommClause); ok {
					inSelect[c.Comm] = true
				}
				if s, ok := n.(*ast.ExprStmt); ok && !inSelect[s] && sleeps(s.X) {
					t.Errorf("%s: %s sleeps; see internal/fakeclock and testserver.Eventually", path, fn.Name.Name)
				}
				return true
			})
		}
	})
	if seen == 0 || !exempt {
		t.Fatalf("%d tests were found; %s is one of them: %t", seen, sendsSlowly, exempt)
	}
}

// sleeps reports whether x is time.Sleep(…), or <-time.After(…) outside a select.
func sleeps(x ast.Expr) bool {
	if u, ok := x.(*ast.UnaryExpr); ok && u.Op == token.ARROW {
		x = u.X
	}
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Sleep" && sel.Sel.Name != "After" {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "time"
}
