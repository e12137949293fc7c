package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const folder = "../../docs/performance"

// The charts in docs/performance are drawn from the figures there.
func TestChartsAreThoseOfTheirFigures(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no curves in %s: %v", folder, err)
	}
	for _, name := range files {
		c, err := read(name)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(strings.TrimSuffix(name, ".json") + ".svg")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept, c.svg()) {
			t.Errorf("%s differs from its figures: run go run ./bench/chart docs/performance", name)
		}
	}
}

func TestAChartShowsEveryPoint(t *testing.T) {
	dir := t.TempDir()
	raw := `{"title": "A <b> & more", "x": "devices", "points": [
		{"x": 1000, "y": {"server, µs": 50, "other, µs": 100, "memory, MiB": 10}},
		{"x": 50000, "y": {"server, µs": 60, "memory, MiB": 500}}]}`
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := drawAll(dir); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "a.svg"))
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(out)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, out)
		}
		if e, ok := token.(xml.StartElement); ok {
			tags[e.Name.Local]++
		}
	}
	if tags["circle"] != 5 || tags["polyline"] != 3 || tags["g"] != 2 {
		t.Errorf("%v; want 5 points of 3 series in 2 panels", tags)
	}
	for _, text := range []string{"A &lt;b&gt; &amp; more", ">50k<", ">devices<", ">MiB<"} {
		if !strings.Contains(string(out), text) {
			t.Errorf("%q is missing", text)
		}
	}
}

func TestAFolderWithoutCurvesIsAnError(t *testing.T) {
	dir := t.TempDir()
	if drawAll(dir) == nil {
		t.Error("no error for an empty directory")
	}
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(`{"title": "no points"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if drawAll(dir) == nil {
		t.Error("no error for a curve without points")
	}
}
