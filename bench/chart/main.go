// Command chart draws the cost curves that the benchmarks of package bench wrote:
//
//	go -C bench run ./chart ../docs/performance
//
// For every curve.json in the directory it writes a curve.svg.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: chart FOLDER")
		os.Exit(2)
	}
	if err := drawAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// drawAll draws every curve in a directory.
func drawAll(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no curves in %s", folder)
	}
	for _, name := range files {
		c, err := read(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(strings.TrimSuffix(name, ".json")+".svg", c.svg(), 0o644); err != nil { //nolint:gosec // a public picture
			return err
		}
	}
	return nil
}

// curve is what something costs as a quantity grows, see package bench.
type curve struct {
	Title  string `json:"title"`
	X      string `json:"x"`
	Points []struct {
		X float64            `json:"x"`
		Y map[string]float64 `json:"y"` // by "what, unit"
	} `json:"points"`
}

func read(name string) (c curve, err error) {
	raw, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err == nil && len(c.Points) == 0 {
		err = fmt.Errorf("%s has no points", name)
	}
	return c, err
}
