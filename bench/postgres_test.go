package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// What Postgres achieves by itself with one row in each transaction: a plain row, and a row with
// the user's next seq, which is what falconbridge guarantees.
const (
	schema = `CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, usr text, title text, message text,
 created_at timestamptz DEFAULT now());
CREATE TABLE box (usr text PRIMARY KEY, last bigint NOT NULL);
CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, usr text, seq bigint, title text, message text,
 created_at timestamptz DEFAULT now(), UNIQUE (usr, seq));
INSERT INTO box SELECT 'bench-' || i, 0 FROM generate_series(0, 999) i;`

	plainRow = `\set u random(0, 999)
INSERT INTO plain (usr, title, message) VALUES ('bench-' || :u, 'El estado de su reporte ha cambiado a: Aprobado', repeat('x', 180));
`
	seqRow = `\set u random(0, 999)
WITH b AS (UPDATE box SET last = last + 1 WHERE usr = 'bench-' || :u RETURNING usr, last)
INSERT INTO item (usr, seq, title, message) SELECT usr, last, 'El estado de su reporte ha cambiado a: Aprobado', repeat('x', 180) FROM b;
`
)

// pgbench runs a script with that many clients for some seconds, and returns the transactions per
// second.
type pgbench struct {
	bin, url string
	dir      string
}

func newPgbench(b *testing.B, s *testserver.PostgresServer) pgbench {
	b.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
	if p, err := exec.LookPath("pgbench"); err == nil {
		found = append(found, p)
	}
	if len(found) == 0 {
		b.Fatal("pgbench is not installed: run .ci/packages")
	}
	p := pgbench{bin: found[len(found)-1], url: s.URL, dir: b.TempDir()}
	out, err := exec.Command("psql", "-q", "-d", s.URL, "-c", schema).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return p
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func (p pgbench) run(b *testing.B, script string, clients, seconds int) float64 {
	b.Helper()
	file := filepath.Join(p.dir, "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command(p.bin, "-n", "-M", "prepared", "-f", file, "-c", fmt.Sprint(clients), "-j", "2",
		"-T", fmt.Sprint(seconds), p.url).CombinedOutput()
	m := tps.FindSubmatch(out)
	if err != nil || m == nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
