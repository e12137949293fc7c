package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// A setting that no code uses would be in the help and have no effect.
func TestTheProgramUsesEverySetting(t *testing.T) {
	source := func(patterns ...string) string {
		var code strings.Builder
		for _, file := range testserver.Sources(t, patterns...) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
		return code.String()
	}
	server := source("../app/*.go", "../../cmd/falconbridge/*.go")
	for _, where := range []struct {
		fields reflect.Type
		names  string // of the variables with such a value
		code   string
	}{
		{reflect.TypeFor[Config](), "c", server},
		{reflect.TypeFor[Keys](), "k|Keys", server + source("keys.go")}, // makes the verifier and the signer
	} {
		for f := range where.fields.Fields() {
			if f.IsExported() && !regexp.MustCompile(`\b(?:`+where.names+`)\.`+f.Name+`\b`).MatchString(where.code) {
				t.Errorf("no code uses the setting %s.%s", where.fields.Name(), f.Name)
			}
		}
	}
}

// A server whose key is ignored would print tokens for everyone, so the list is spelled out here.
func TestAnyKeyEndsDevelopmentMode(t *testing.T) {
	keys := []string{"jwt-secret", "jwt-secret-file", "jwt-public-key-file", "jwt-jwks-url"}
	for _, s := range Settings() {
		if s.Key != slices.Contains(keys, s.Flag) {
			t.Errorf("--%s: Key is %t", s.Flag, s.Key)
		}
		c, _ := Read(map[string]string{s.Flag: "invalid"}, nil).Check(All())
		if c.Keys.Development == s.Key {
			t.Errorf("with --%s alone: development mode %t", s.Flag, c.Keys.Development)
		}
	}
}
