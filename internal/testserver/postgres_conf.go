package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Dir returns the directory of the server's socket.
func (s *PostgresServer) Dir() string { return s.dir }

// Reconfigure restarts the server with more lines in postgresql.conf, and with hba as its
// pg_hba.conf unless that is "".
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

// Secure restarts the server with TLS and returns its certificate. It is self-signed, and also
// the authority for client certificates.
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

// Demote restarts the server as a standby, which is read-only.
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

// write writes a file in the data directory that belongs to the user of the server.
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

// NewPgBouncer starts a PgBouncer in front of server, for one test. settings are lines of its
// configuration.
func NewPgBouncer(t testing.TB, server *PostgresServer, settings ...string) *Server {
	t.Helper()
	port := FreePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	dir, err := os.MkdirTemp("", "falcon-pgbouncer-") // not t.TempDir, which other users cannot enter
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
	s.asNobody = true // it refuses to run as root
	s.begin(t)
	return s
}

// Standby starts a server, for one test, that replicates s from a base backup.
func (s *PostgresServer) Standby(t testing.TB) *PostgresServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "falcon-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := FreePort(t)
	follower := &PostgresServer{Port: port, bin: s.bin, dir: dir,
		URL: fmt.Sprintf("postgres://falcon@127.0.0.1:%d/falcon?sslmode=disable", port)}
	uid, gid, err := unprivileged()
	if err == nil {
		err = os.Chown(dir, uid, gid)
	}
	if err != nil {
		t.Fatal(err)
	}
	backup := exec.Command(filepath.Join(s.bin, "pg_basebackup"), "-D", filepath.Join(dir, "data"), "-h", "127.0.0.1",
		"-p", strconv.Itoa(s.Port), "-U", "falcon", "-c", "fast", "-R")
	backup.Dir = dir
	if err := s.asOwner(backup); err != nil {
		t.Fatal(err)
	}
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	conf, err := os.ReadFile(filepath.Join(dir, "data", "postgresql.auto.conf"))
	if err != nil {
		t.Fatal(err)
	}
	follower.write(t, "postgresql.auto.conf", fmt.Appendf(conf, "port=%d\nunix_socket_directories='%s'\n", port, dir))
	t.Cleanup(func() {
		if follower.run != nil {
			_ = follower.run.stop(syscall.SIGQUIT)
		}
	})
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	return follower
}

// Promote makes the standby s the primary.
func (s *PostgresServer) Promote(t testing.TB) {
	t.Helper()
	db := s.open("postgres")
	defer func() { _ = db.Close() }()
	var done bool
	if err := db.QueryRowContext(t.Context(), "SELECT pg_promote(true, 30)").Scan(&done); err != nil || !done {
		t.Fatalf("promote: %v, %v", done, err)
	}
}

// Writable returns nil if s accepts writes, and an error while it is recovering or a standby.
func (s *PostgresServer) Writable() error {
	db := s.open("postgres")
	defer func() { _ = db.Close() }()
	var recovering bool
	if err := db.QueryRow("SELECT pg_is_in_recovery()").Scan(&recovering); err != nil {
		return err
	}
	if recovering {
		return errors.New("the server is in recovery")
	}
	return nil
}

// Replace replaces s with an empty cluster on the same port, as if the machine were new.
func (s *PostgresServer) Replace(t testing.TB) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.dir, "data"), filepath.Join(s.dir, "former")); err != nil {
		t.Fatal(err)
	}
	if err := s.initialize(nil); err != nil {
		t.Fatal(err)
	}
}

// MoveTo restarts s on the port of another server, which must have stopped.
func (s *PostgresServer) MoveTo(t testing.TB, other *PostgresServer) {
	t.Helper()
	s.Port, s.URL = other.Port, other.URL
	s.Reconfigure(t, "", "port="+strconv.Itoa(s.Port))
}
