package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/falconalert/falconbridge/internal/config"
)

type configCmd struct{}

func (configCmd) Help() string {
	return `Example:

    FALCON_HTTP_ADDR=:9000 falconbridge config`
}

// Run prints what serve would run with.
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
		_, _ = fmt.Fprintf(p.err, "falconbridge: %s is read by no setting; is it misspelled?\n", name)
	}
	for _, b := range bad {
		_, _ = fmt.Fprintln(p.err, "falconbridge:", b)
	}
	if len(bad) > 0 {
		return errReported
	}
	return nil
}
