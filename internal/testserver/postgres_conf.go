package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Dir is the folder of the server's socket.
func (s *PostgresServer) Dir() string { return s.dir }

// Reconfigure restarts the server with further lines of postgresql.conf, and the
// rules of pg_hba.conf where hba has some.
func (s *PostgresServer) Reconfigure(t testing.TB, hba string, settings ...string) {
	t.Helper()
	if hba != "" {
		s.write(t, "pg_hba.conf", []byte(hba))
	}
	conf, err := os.ReadFile(filepath.Join(s.dir, "data", "postgresql.auto.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "postgresql.auto.conf", append(conf, strings.Join(append(settings, ""), "\n")...))
	s.restart(t)
}

// Secure restarts the server with TLS and returns its certificate, which is its
// own authority, and the one that client certificates must come from.
func (s *PostgresServer) Secure(t testing.TB) CertificateFiles {
	t.Helper()
	files := Certificate(t)
	for name, from := range map[string]string{"server.crt": files.Cert, "server.key": files.Key} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, name, b)
	}
	s.Reconfigure(t, "", "ssl=on", "ssl_ca_file='server.crt'")
	return files
}

// Demote restarts the server as a standby, which only reads.
func (s *PostgresServer) Demote(t testing.TB) {
	t.Helper()
	s.write(t, "standby.signal", nil)
	s.restart(t)
}

func (s *PostgresServer) restart(t testing.TB) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// write writes a file of the data directory, for the user the server runs under.
func (s *PostgresServer) write(t testing.TB, name string, content []byte) {
	t.Helper()
	path := filepath.Join(s.dir, "data", name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	uid, gid, err := unprivileged()
	if err == nil {
		err = os.Chown(path, uid, gid)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// NewPgBouncer starts a PgBouncer in front of server that ends with the
// test; settings are lines of its configuration.
func NewPgBouncer(t testing.TB, server *PostgresServer, settings ...string) *Server {
	t.Helper()
	port := FreePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	dir, err := os.MkdirTemp("", "falcon-pgbouncer-") // not t.TempDir: another user reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{URL: fmt.Sprintf("postgres://falcon@%s/falcon?sslmode=disable", addr), Addr: addr, dir: dir}
	conf := fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d user=falcon\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%d\nunix_socket_dir=\n"+
		"auth_type=any\n%s\n", server.Port, port, strings.Join(settings, "\n"))
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.args = []string{find(t, "pgbouncer", "/usr/sbin/pgbouncer"), file}
	s.asNobody = true // it does not run as root
	s.begin(t)
	return s
}
