package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// shell runs commands in dir as an operator of p would, whose settings are in the
// environment.
func shell(t *testing.T, p *testserver.Program, dir, commands string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(testserver.Binary(t), filepath.Join(bin, "falconbridge")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euc", commands)
	cmd.Dir = dir
	cmd.Env = append(testserver.Environ(with("FALCON_DATA_DIR", p.Dir)), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, errs, code := finish(t, cmd); code != 0 {
		t.Fatalf("%s: exit %d, %s%s", commands, code, out, errs)
	}
}

// The drill of docs/backup.md with its own commands: a backup under load, a
// kill, the restore. Devices continue in a new epoch.
func TestTheDocumentedRestoreWorks(t *testing.T) {
	t.Parallel()
	blocks := testserver.Documented(t, "docs/backup.md", "SQLite")
	if len(blocks) != 2 {
		t.Fatalf("the commands are %q; want backup and restore", blocks)
	}
	dir := t.TempDir()
	p := testserver.NewProgram(t, production)
	tail := begin(t, p.Command("tail", "--user=1", "--persistent", "--client-id=phone"))
	tail.says(t, "subscribed")
	notify(t, p.HTTP, "1", "before")
	tail.json(t, 1)

	writer := sign(t, "app", bridge.ScopeWrite)
	ended, stop := make(chan int64, 1), make(chan struct{})
	go func() { // other users' notifications
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				ended <- i
				return
			default:
			}
			req, _ := http.NewRequest("POST", p.HTTP+"/notifications", strings.NewReader(fmt.Sprintf(`{"created_by":"u%d","title":"load","message":"M"}`, i%7)))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+writer)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}()
	shell(t, p, dir, blocks[0])
	close(stop)
	if n := <-ended; n == 0 {
		t.Error("nothing was posted during the backup")
	}
	notify(t, p.HTTP, "1", "lost")
	tail.json(t, 2)
	user := caller{base: p.HTTP, token: sign(t, "1", 0)}
	epoch := user.do(t, "GET", "/notifications", nil, 200, nil).Get("X-Epoch")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(p.Dir, config.DatabaseFile+"-wal")); err != nil || info.Size() == 0 {
		t.Fatalf("the kill left no WAL: %v", err)
	}

	shell(t, p, dir, blocks[1])
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var listed []item
	after := user.do(t, "GET", "/notifications", nil, 200, &listed).Get("X-Epoch")
	if len(listed) != 1 || listed[0].Title != "before" {
		t.Errorf("the restored log has %v", listed)
	}
	if after == epoch || after == "" {
		t.Errorf("the epoch was %q, is %q", epoch, after)
	}
	if seq := notify(t, p.HTTP, "1", "after"); seq != 2 {
		t.Errorf("the next seq is %d, want 2", seq)
	}
	testserver.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(tail.out.String(), `"after"`) {
			return fmt.Errorf("the device got %s", tail.out.String())
		}
		return nil
	})
	if former, err := filepath.Glob(filepath.Join(p.Dir, config.DatabaseFile+".before-*")); err != nil || len(former) < 2 {
		t.Errorf("the former database and its WAL: %v, %v", former, err)
	}
}

func TestRestoreRefusesADatabaseInUse(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, errs, code := finish(t, p.Command("backup", copied)); code != 0 {
		t.Fatalf("backup: exit %d, %s", code, errs)
	}
	notify(t, p.HTTP, "1", "after the backup")
	refused := func(want string) {
		t.Helper()
		out, errs, code := finish(t, p.Command("restore", copied))
		if code != exitFailed || out != "" || !strings.Contains(errs, want) {
			t.Errorf("restore while the server runs: exit %d, %q %q, want %q", code, out, errs, want)
		}
	}
	refused("another server is using " + filepath.Join(p.Dir, config.DatabaseFile) + "; stop it first\n")
	// Like another version's server, an import or sqlite3, which do not take our lock.
	if err := os.Remove(filepath.Join(p.Dir, config.DatabaseFile+".lock")); err != nil {
		t.Fatal(err)
	}
	refused("a process has the database open")
	if got := (caller{base: p.HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
}

func TestBackupAndRestorePointToPostgresTools(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, with("DATABASE_URL", "postgres://falcon@127.0.0.1:1/falcon"))
	for command, want := range map[string]string{"backup": "pg_dump", "restore": "pg_restore"} {
		_, errs, code := finish(t, p.Command(command, filepath.Join(p.Dir, "copy.db")))
		if code != exitFailed || !strings.HasPrefix(errs, "falconbridge: --database-url") || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q", command, code, errs)
		}
	}
	if files, err := os.ReadDir(p.Dir); err != nil || len(files) > 0 {
		t.Errorf("they made %v, %v", files, err)
	}
}

func TestABackupOnAFullDiskLeavesNoFile(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	notify(t, p.HTTP, "1", "stays")
	dir := t.TempDir()
	backup := p.Command("backup", filepath.Join(dir, "copy.db"))
	// No file may grow beyond 40 KiB, which to SQLite looks like a full disk.
	limited := exec.Command("bash", append([]string{"-c", `ulimit -f 40; exec "$@"`, "bash"}, backup.Args...)...)
	limited.Env = backup.Env
	_, errs, code := finish(t, limited)
	if code != exitFailed || !strings.Contains(errs, "falconbridge: backup: copy the database: some kind of disk I/O error") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("it left %v, %v", files, err)
	}
	notify(t, p.HTTP, "1", "goes on")
}

func TestBackupCreatesNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := testserver.Prepare(t, production, "--data-dir="+filepath.Join(dir, "missing"))
	_, errs, code := finish(t, p.Command("backup", filepath.Join(dir, "copy.db")))
	if code != exitFailed || !strings.Contains(errs, "there is no database at") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("it made %v, %v", files, err)
	}
}

// A new machine has nothing but the copy.
func TestARestoreOnANewMachine(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	notify(t, p.HTTP, "1", "kept")
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, errs, code := finish(t, p.Command("backup", copied)); code != 0 {
		t.Fatalf("backup: exit %d, %s", code, errs)
	}
	n := testserver.Prepare(t, production, "--data-dir="+filepath.Join(t.TempDir(), "new"))
	if _, errs, code := finish(t, n.Command("restore", copied)); code != 0 {
		t.Fatalf("restore: exit %d, %s", code, errs)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if got := (caller{base: n.HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != 1 || !strings.Contains(got[0], "kept") {
		t.Errorf("the log has %v", got)
	}
}

func TestVersionNamesReleaseCommitAndGo(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, production)
	out, errs, code := finish(t, p.Command("version"))
	if code != 0 || !regexp.MustCompile(`^falconbridge \S+, commit \S+, go1\.\d+\S*\n$`).MatchString(out) {
		t.Errorf("exit %d, %q %s", code, out, errs)
	}
	if flag, _, _ := finish(t, p.Command("--version")); flag != out {
		t.Errorf("--version prints %q, version %q", flag, out)
	}
}

// The server's user can write to the data directory, and so put a link to root's file there.
func TestARestoreByRootChownsNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	p := testserver.NewProgram(t, production)
	backup := filepath.Join(dir, "copy.db")
	if _, errs, code := finish(t, p.Command("backup", backup)); code != 0 {
		t.Fatalf("backup: exit %d, %s", code, errs)
	}
	data, victim := filepath.Join(dir, "data"), file(t, "of root")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(data, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, filepath.Join(data, config.DatabaseFile+".lock")); err != nil {
		t.Fatal(err)
	}
	n := testserver.Prepare(t, production, "--data-dir="+data)
	if _, errs, code := finish(t, n.Command("restore", backup)); code != 0 {
		t.Fatalf("restore: exit %d, %s", code, errs)
	}
	info, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		t.Errorf("the file now belongs to %d", owner)
	}
}
