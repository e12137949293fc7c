package main

import (
	"fmt"
	"strings"
)

// problem is why one setting cannot work, and how to mend it. It never holds a
// secret.
type problem struct {
	setting string // flag name without dashes
	what    string
	mend    string
}

func (p problem) Error() string {
	return fmt.Sprintf("--%s (%s): %s; %s", p.setting, envName(p.setting), p.what, p.mend)
}

// problems collects every bad setting.
type problems []problem

func (ps *problems) add(setting, what, mend string) {
	*ps = append(*ps, problem{setting, what, mend})
}

// err is one line about the first problem, nil where there is none.
func (ps problems) err() error {
	switch len(ps) {
	case 0:
		return nil
	case 1:
		return ps[0]
	}
	return fmt.Errorf("%w (and %d more, see: falconbridge config)", ps[0], len(ps)-1)
}

const envPrefix = "FALCON_"

// envName is the environment variable of a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
