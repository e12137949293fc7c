package layout

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// licences are recognized by words that no other licence has; the first match counts. A licence
// that is not listed here has not been reviewed.
var licences = []struct{ name, words string }{
	{"EPL-2.0", "eclipse public license - v 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"Apache-2.0", "apache license version 2.0"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted"},
	{"BSD", "redistribution and use in source and binary forms, with or without modification, are permitted"},
}

// shipped are the licences that the program's dependencies may have. For distributing the
// program they require only that the authors are named. EPL-2.0 also requires that the source of
// the library is available; it is unchanged and public.
var shipped = []string{"MIT", "BSD", "ISC", "Apache-2.0", "EPL-2.0"}

func TestEveryDependencyHasALicenceThatFits(t *testing.T) {
	for name, tt := range map[string]struct {
		args    []string
		allowed []string
	}{
		"the program": {[]string{"./cmd/falconbridge"}, shipped},
		"the tests":   {[]string{"-test", "./..."}, append(slices.Clone(shipped), "MPL-2.0")}, // is not distributed
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}"}, tt.args...)
			cmd := exec.Command("go", args...)
			cmd.Dir = root
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			modules := strings.Split(strings.TrimSpace(string(out)), "\n")
			slices.Sort(modules)
			modules = slices.Compact(modules)
			if len(modules) < 10 {
				t.Fatalf("%d modules: the list is not that of the module", len(modules))
			}
			for _, line := range modules {
				path, rest, _ := strings.Cut(line, " ")
				if path == "" {
					continue // the standard library
				}
				version, dir, _ := strings.Cut(rest, " ")
				licence, err := licenceOf(dir)
				switch {
				case err != nil:
					t.Errorf("%s %s: %v", path, version, err)
				case !slices.Contains(tt.allowed, licence):
					t.Errorf("%s %s has the licence %s", path, version, licence)
				default:
					t.Logf("%-10s %s %s", licence, path, version)
				}
			}
		})
	}
}

// licenceOf returns the name of the licence of the module in dir.
func licenceOf(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("read the module's source: %w", err)
	}
	for _, f := range files {
		name, _, _ := strings.Cut(strings.ToUpper(f.Name()), ".")
		if name != "LICENSE" && name != "LICENCE" && name != "COPYING" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return "", fmt.Errorf("read the licence: %w", err)
		}
		text := strings.ToLower(strings.Join(strings.Fields(string(b)), " "))
		for _, l := range licences {
			if strings.Contains(text, l.words) {
				return l.name, nil
			}
		}
		return "", fmt.Errorf("%s is not a known licence", f.Name())
	}
	return "", fmt.Errorf("no licence file")
}

func TestALicenceIsRecognizedOrRefused(t *testing.T) {
	for text, want := range map[string]string{
		"MIT License\n\nPermission is hereby granted, free of\n charge, to any person obtaining a copy of": "MIT",
		"Apache License\n    Version 2.0, January 2004":                                                    "Apache-2.0",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3":                                                            "",
		"Business Source License 1.1":                                                                      "",
		"":                                                                                                 "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "LICENSE.md"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := licenceOf(dir); got != want || (err == nil) != (want != "") {
			t.Errorf("%.30q is %q, %v; want %q", text, got, err, want)
		}
	}
	if got, err := licenceOf(t.TempDir()); err == nil {
		t.Errorf("no licence at all is %q", got)
	}
}
