package main

import (
	"strings"

	"golang.org/x/net/idna"

	"github.com/falconalert/falconbridge/internal/edge"
)

// originNames turns international names into the ASCII form in which browsers send
// them (UTS 46). Names that are ASCII already, with underscores, wildcards or ports
// as they may be, stay as they are.
var originNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// parseOrigins reads the comma-separated list of --cors-origins.
func parseOrigins(list string) (edge.Origins, error) {
	origins := strings.Split(list, ",")
	for i, s := range origins {
		scheme, host, ok := strings.Cut(s, "://")
		if !ok {
			continue
		}
		// A name that has no ASCII form stays as it is, and is refused below.
		if ascii, err := originNames.ToASCII(strings.TrimSpace(host)); err == nil {
			origins[i] = scheme + "://" + ascii
		}
	}
	return edge.ParseOrigins(origins)
}
