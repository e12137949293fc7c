package testserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Documented returns the shell commands that a document of the repository has under a
// second-level heading, one string per ```sh block. Drills run them, so that what an operator
// copies from the document is what was tested.
func Documented(t testing.TB, doc, heading string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository(), doc))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "\n## "+heading+"\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	if !found || len(blocks) == 0 {
		t.Fatalf("%s has no commands under %q", doc, heading)
	}
	return blocks
}

// Shell runs commands as the server's administrator would: as the user who owns its files,
// with its programs on the PATH, and with PGHOST, PGUSER, PGDATABASE, PGDATA and env set.
func (s *PostgresServer) Shell(t testing.TB, commands string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), append(env, "PATH="+s.bin+":"+os.Getenv("PATH"), "HOME="+s.dir, "PGHOST="+s.dir,
		"PGPORT="+strconv.Itoa(s.Port), "PGUSER=falcon", "PGDATABASE=falcon", "PGDATA="+filepath.Join(s.dir, "data"))...)
	if err := s.asOwner(cmd); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}

// asOwner makes cmd run as the user who owns the server's files.
func (s *PostgresServer) asOwner(cmd *exec.Cmd) error {
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := unprivileged()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return err
}
