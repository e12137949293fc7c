package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// PostgresServer is a Postgres cluster. fsync and synchronous_commit are on unless its
// settings say otherwise.
type PostgresServer struct {
	URL  string // connects to the database falcon
	Port int

	bin, dir string
	run      *process
}

// NewPostgres starts a cluster for one test. settings are lines of postgresql.conf.
func NewPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "falcon-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := startPostgres(dir, pgbin(t), FreePort(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.run != nil {
			_ = s.run.stop(syscall.SIGQUIT)
		}
	})
	return s
}

func pgbin(t testing.TB) string {
	return filepath.Dir(find(t, "postgresql", "/usr/lib/postgresql/*/bin/postgres", "/usr/local/pgsql/bin/postgres"))
}

func startPostgres(dir, bin string, port int, settings []string) (*PostgresServer, error) {
	s := &PostgresServer{Port: port, bin: bin, dir: dir,
		URL: fmt.Sprintf("postgres://falcon@127.0.0.1:%d/falcon?sslmode=disable", port)}
	uid, gid, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	if err := s.initialize(settings); err != nil {
		return nil, err
	}
	admin := s.open("postgres")
	defer admin.Close()
	_, err = admin.Exec("CREATE DATABASE falcon")
	return s, err
}

// initialize creates an empty cluster and starts it.
func (s *PostgresServer) initialize(settings []string) error {
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "falcon", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync")
	initdb.Dir = s.dir
	if err := s.asOwner(initdb); err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf := fmt.Sprintf("listen_addresses='127.0.0.1'\nport=%d\nunix_socket_directories='%s'\nmax_connections=200\nlogging_collector=off\n", s.Port, s.dir)
	for _, line := range settings {
		conf += line + "\n"
	}
	name := filepath.Join(s.dir, "data", "postgresql.auto.conf")
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		return err
	}
	uid, gid, err := unprivileged()
	if err != nil {
		return err
	}
	if err := os.Chown(name, uid, gid); err != nil {
		return err
	}
	return s.Start()
}

func (s *PostgresServer) open(database string) *sql.DB {
	return sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(
		fmt.Sprintf("postgres://falcon@127.0.0.1:%d/%s?sslmode=disable", s.Port, database))))
}

// PID returns the id of the server's main process; its other processes are children of it.
func (s *PostgresServer) PID() int { return s.run.cmd.Process.Pid }

// Start starts the stopped cluster on its former port and waits until it responds.
func (s *PostgresServer) Start() error {
	_ = os.Remove(filepath.Join(s.dir, "data", "postmaster.pid"))
	p, err := spawn(s.dir, true, filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"))
	if err != nil {
		return err
	}
	s.run = p
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := listening(ctx, fmt.Sprintf("127.0.0.1:%d", s.Port), p); err != nil {
		return err
	}
	db := s.open("postgres")
	defer db.Close()
	for {
		if err = db.PingContext(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Kill stops the cluster as pg_ctl -m immediate does: without a checkpoint, so that open
// transactions are lost and the next start begins with recovery.
func (s *PostgresServer) Kill() error { return s.end(syscall.SIGQUIT) }

// Stop stops the cluster as pg_ctl -m fast does.
func (s *PostgresServer) Stop() error { return s.end(syscall.SIGINT) }

func (s *PostgresServer) end(sig syscall.Signal) error {
	p := s.run
	s.run = nil
	return p.stop(sig)
}

var shared struct {
	once sync.Once
	s    *PostgresServer
	err  error
	n    atomic.Int64
}

// Postgres returns the URL of an empty database in a cluster that all tests of the process
// share. The cluster does not sync to disk, since only a crash of the machine would lose data
// by that. It has no autovacuum, because an automatic ANALYZE of any database holds back the
// position up to which the log can be followed, and a test that has just appended a row expects
// to read it. A benchmark gets a cluster of its own, with both.
func Postgres(t testing.TB) string {
	t.Helper()
	if _, measured := t.(*testing.B); measured {
		return NewPostgres(t).URL
	}
	bin := pgbin(t)
	port := FreePort(t)
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", sharedPrefix)
		if err != nil {
			shared.err = err
			return
		}
		// A later test process removes dir, because no hook runs at the end of this one.
		sweep(dir)
		// Tests that kill or measure a server start their own.
		shared.s, shared.err = startPostgres(dir, bin, port, []string{"fsync=off", "full_page_writes=off", "autovacuum=off"})
	})
	if shared.err != nil {
		t.Fatalf("start Postgres: %v", shared.err)
	}
	name := fmt.Sprintf("test_%d", shared.n.Add(1))
	admin := shared.s.open("postgres")
	defer admin.Close()
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	return fmt.Sprintf("postgres://falcon@127.0.0.1:%d/%s?sslmode=disable", shared.s.Port, name)
}

// sharedPrefix begins the names of the directories of shared clusters, and of no others: those
// are swept.
const sharedPrefix = "falcon-shared-postgres-"

// sweep removes the directories that shared clusters of earlier processes left behind. keep is
// that of this process.
func sweep(keep string) {
	dirs, _ := filepath.Glob(filepath.Join(filepath.Dir(keep), sharedPrefix+"*"))
	for _, d := range dirs {
		if d == keep {
			continue
		}
		pid := filepath.Join(d, "data", "postmaster.pid")
		var p int
		if b, err := os.ReadFile(pid); err == nil {
			_, _ = fmt.Sscan(string(b), &p)
		}
		info, err := os.Stat(d)
		if err == nil && time.Since(info.ModTime()) > time.Minute && (p == 0 || syscall.Kill(p, 0) != nil) {
			_ = os.RemoveAll(d)
		}
	}
}
