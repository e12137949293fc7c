package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

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

// release is set by the linker where the build knows more than Go does.
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

// commit is the Git commit the program was built from, 12 digits of it, with a plus
// where files had changed since; "" where the build did not record it.
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
