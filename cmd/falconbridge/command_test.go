package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestSendAndTailMeet(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	for user, extra := range map[string][]string{
		"tcp":        nil,
		"ws":         {"--mqtt-url", p.WS},
		"token-file": {"--token-file", file(t, sign(t, "token-file", 0))},
	} {
		t.Run(user, func(t *testing.T) {
			tail := begin(t, p.Command(append([]string{"tail", "--user=" + user, "--count=2"}, extra...)...))
			tail.says(t, "subscribed")
			for range 2 {
				out, errs, code := finish(t, p.Command("send", "--user="+user, "--title=Prueba ñ", "--message=línea 1\nlínea 2", `--data={"a": 1}`))
				if code != 0 || !strings.Contains(out, `"message":"Notificación creada correctamente"`) {
					t.Fatalf("send: exit %d, %s %s", code, out, errs)
				}
			}
			tail.wait(t)
			if code := tail.cmd.ProcessState.ExitCode(); code != 0 {
				t.Fatalf("tail: exit %d, %s", code, tail.err.String())
			}
			want := caller{base: p.HTTP, token: sign(t, user, 0)}.raws(t)
			slices.Reverse(want)
			if got := lines(tail.out.String()); !slices.Equal(got, want) {
				t.Errorf("tail printed %q, REST lists %q", got, want)
			}
		})
	}
}

func TestSendPassesEveryField(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	for _, title := range []string{"first", "second"} {
		out, errs, code := finish(t, p.Command("send", "--user=1", "--title="+title, "--message=m", "--kind=invoice", `--data={"a": 1}`,
			"--link=/invoices/5", "--replaces=invoice:5", "--expires-in=1h"))
		if code != 0 {
			t.Fatalf("send: exit %d, %s %s", code, out, errs)
		}
	}
	var list []struct {
		Title, Kind, URL, Replaces string
		Data                       json.RawMessage
		CreatedAt                  time.Time `json:"created_at"`
		ExpiresAt                  time.Time `json:"expires_at"`
	}
	caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/notifications", nil, 200, &list)
	if len(list) != 1 {
		t.Fatalf("%d notifications, want the one that replaced the other: %+v", len(list), list)
	}
	n := list[0]
	if n.Title != "second" || n.Kind != "invoice" || string(n.Data) != `{"a":1}` || n.URL != "/invoices/5" || n.Replaces != "invoice:5" {
		t.Errorf("got %+v", n)
	}
	if life := n.ExpiresAt.Sub(n.CreatedAt).Round(time.Minute); life != time.Hour {
		t.Errorf("it expires after %s, want 1h", life)
	}
}

func TestAPersistentTailGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			args := []string{"tail", "--user=7", "--persistent", "--client-id=laptop"}
			tail := begin(t, p.Command(args...))
			tail.says(t, "subscribed")
			notify(t, p.HTTP, "7", "seen")
			tail.json(t, 1)
			tail.interrupt(t)

			for i := range 3 {
				notify(t, p.HTTP, "7", fmt.Sprintf("missed %d", i))
			}
			if err := p.Kill(); err != nil { // and the server crashes meanwhile
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			tail = begin(t, p.Command(args...))
			got := tail.json(t, 3)
			notify(t, p.HTTP, "7", "live")
			got = append(got[:0:0], tail.json(t, 4)...)
			all := caller{base: p.HTTP, token: sign(t, "7", 0)}.raws(t)[:4]
			slices.Reverse(all)
			if !slices.Equal(got, all) {
				t.Errorf("after its absence: %q, want %q", got, all)
			}
		})
	}
}

func TestATailSurvivesTheServer(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	tail := begin(t, p.Command("tail", "--user=5"))
	tail.says(t, "subscribed")
	notify(t, p.HTTP, "5", "one")
	tail.json(t, 1)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	tail.says(t, "code=139") // 0x8B, the server shuts down
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	notify(t, p.HTTP, "5", "two")
	notify(t, p.HTTP, "5", "three")
	if got := tail.json(t, 3); len(got) != 3 || !strings.Contains(got[1], `"two"`) || !strings.Contains(got[2], `"three"`) {
		t.Errorf("across the restart: %q", got)
	}
}

func TestATailStartsAfterSince(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	for i := range 4 {
		notify(t, p.HTTP, "5", fmt.Sprintf("n%d", i+1))
	}
	for since, want := range map[string]int{"0": 4, "3": 1} {
		out, errs, code := finish(t, p.Command("tail", "--user=5", "--since="+since, fmt.Sprintf("--count=%d", want)))
		if got := lines(out); code != 0 || len(got) != want || !strings.Contains(got[want-1], `"n4"`) {
			t.Errorf("since %s: exit %d, %q %s", since, code, got, errs)
		}
	}
}

func TestARefusalEndsTheClientWithOneLine(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"tail with a token of an unknown key": {[]string{"tail", "--token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6OTk5OTk5OTk5OX0.AAAA"}, "the server refused the token"},
		"tail of another user":                {[]string{"tail", "--user=2", "--token", sign(t, "1", 0)}, "does not allow this user's notifications"},
		"tail without a user":                 {[]string{"tail"}, "--user: is missing"},
		"tail with a token without a user":    {[]string{"tail", "--token=x.y.z"}, "--token: names no user"},
		"tail of an address that is invalid":  {[]string{"tail", "--user=1", "--mqtt-url=http://h"}, "--mqtt-url (FALCON_MQTT_URL)"},
		"send without the right":              {[]string{"send", "--user=1", "--title=t", "--message=m", "--token", sign(t, "1", 0)}, "the server returned 403"},
		"send with a title that is too long":  {[]string{"send", "--user=1", "--message=m", "--title=" + strings.Repeat("x", 256)}, "body.title debe tener como máximo 255 caracteres"},
		"send with a life of no time":         {[]string{"send", "--user=1", "--title=t", "--message=m", "--expires-in=0s"}, "--expires-in: is not a time of whole seconds"},
		"send with a link that is a script":   {[]string{"send", "--user=1", "--title=t", "--message=m", "--link=javascript:alert(1)"}, "body.url"},
		"send to a user that cannot be":       {[]string{"send", "--user=a/b", "--title=t", "--message=m"}, "--user: a user id"},
		"send where no server listens":        {[]string{"send", "--user=1", "--title=t", "--message=m", "--url=http://127.0.0.1:1"}, "no response from 127.0.0.1:1: connection refused; start the server"},
		"healthcheck where no server listens": {[]string{"healthcheck", "--url=http://127.0.0.1:1"}, "not ready"},
		"a token of an unknown scope":         {[]string{"token", "--user=1", "--scope=root"}, `--scope: "root" is unknown`},
		"a token without a life":              {[]string{"token", "--user=1", "--ttl=0s"}, "--ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := finish(t, p.Command(tt.args...))
			got := lines(errs)
			if code != 1 || out != "" || len(got) == 0 || !strings.Contains(got[len(got)-1], tt.want) || !strings.HasPrefix(got[len(got)-1], "falconbridge: ") {
				t.Errorf("exit %d, %q %q; want 1 and %q", code, out, errs, tt.want)
			}
		})
	}
}

// examples/README.md exports FALCON_TOKEN for the devices. The next send then presents
// that token, which has no right to, instead of signing one.
func TestARefusedTokenOfTheEnvironmentIsNamed(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	kept := file(t, sign(t, "1", 0))
	const named = "; the token came from "
	for name, tt := range map[string]struct {
		args, env []string
		want      string
	}{
		"send":                   {[]string{"send", "--user=1", "--title=t", "--message=m"}, []string{"FALCON_TOKEN=" + sign(t, "1", 0)}, named + "FALCON_TOKEN in"},
		"send, from a file":      {[]string{"send", "--user=1", "--title=t", "--message=m"}, []string{"FALCON_TOKEN_FILE=" + kept}, named + "FALCON_TOKEN_FILE in"},
		"send, a bad one":        {[]string{"send", "--user=1", "--title=t", "--message=m"}, []string{"FALCON_TOKEN=" + sign(t, "1", 0) + "A"}, named + "FALCON_TOKEN in"},
		"send, typed":            {[]string{"send", "--user=1", "--title=t", "--message=m", "--token", sign(t, "1", 0)}, []string{"FALCON_TOKEN=x"}, ""},
		"send, not about rights": {[]string{"send", "--user=1", "--title=" + strings.Repeat("x", 256), "--message=m"}, []string{"FALCON_TOKEN=" + sign(t, "1", bridge.ScopeAdmin)}, ""},
		"tail of another":        {[]string{"tail", "--user=2"}, []string{"FALCON_TOKEN=" + sign(t, "1", 0)}, named + "FALCON_TOKEN in"},
		"tail with a bad one":    {[]string{"tail", "--user=1"}, []string{"FALCON_TOKEN=" + sign(t, "1", 0) + "A"}, named + "FALCON_TOKEN in"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := p.Command(tt.args...)
			cmd.Env = append(cmd.Env, tt.env...)
			_, errs, code := finish(t, cmd)
			if code != exitFailed || strings.Contains(errs, named) != (tt.want != "") || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, %s", code, errs)
			}
			if strings.Contains(errs, sign(t, "1", 0)[:20]) {
				t.Error("the token is printed")
			}
		})
	}
}

func TestATokenAllowsWhatItsScopeGrants(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	for scope, status := range map[string]int{"": 403, "notifications:read": 200, "admin": 200, "notifications:write,reports:write": 403} {
		out, errs, code := finish(t, p.Command("token", "--user=1", "--scope="+scope, "--ttl=5m"))
		if code != 0 || len(lines(out)) != 1 {
			t.Fatalf("scope %q: exit %d, %q %s", scope, code, out, errs)
		}
		caller{base: p.HTTP, token: strings.TrimSpace(out)}.do(t, "GET", "/users/2/notifications", nil, status, nil)
	}
}

func TestHealthcheckReportsReadiness(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	if out, errs, code := finish(t, p.Command("healthcheck")); code != 0 || out != "" || errs != "" {
		t.Errorf("ready: exit %d, %s%s", code, out, errs)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := finish(t, p.Command("healthcheck")); code != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("stopped: exit %d, %s", code, errs)
	}
}

func TestTheDataDirIsPrivateToItsOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	p := testserver.NewProgram(t, nil, "--data-dir="+dir)
	private := func() {
		t.Helper()
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the data dir: %v %v", info, err)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) < 4 {
			t.Errorf("files %v, %v; want at least the database, its WAL, the note and the key", files, err)
		}
		for _, f := range files {
			if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
			}
		}
	}
	private()
	if err := p.Kill(); err != nil { // which leaves the WAL behind
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // as an older version left them
		if err := os.Chmod(filepath.Join(dir, config.DatabaseFile+suffix), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	private()
	user := caller{base: p.HTTP, token: ""}
	user.do(t, "GET", "/healthz", nil, 200, nil)
}

// MQTT to an HTTP port fails with an error about packets, which does not explain the cause.
func TestMQTTAtAnHTTPPortGetsAHint(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	wrong := "mqtt://" + strings.TrimPrefix(p.HTTP, "http://")
	tail := begin(t, p.Command("tail", "--user=1", "--mqtt-url="+wrong))
	tail.says(t, "ws://host:8080/mqtt")
	tail.interrupt(t)
	if _, errs, code := finish(t, p.Command("bench", "connect", "--duration=1s", "--mqtt-url="+wrong)); code == 0 || !strings.Contains(errs, "ws://host:8080/mqtt") {
		t.Errorf("bench: exit %d, %s", code, errs)
	}
}

func TestALoadOfLoginsNamesTheLimitItExceeded(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production, "--connect-rate-per-ip=1/h")
	out, errs, code := finish(t, p.Command("bench", "connect", "--duration=1s"))
	if code != 0 || !strings.Contains(out, "refused") || !strings.Contains(out, "0x9F ") || !strings.Contains(out, "address") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

func TestFlagsOfOneCallReadNoEnvironmentVariable(t *testing.T) {
	env := with("FALCON_USER", "9", "FALCON_TITLE", "T", "FALCON_MESSAGE", "M", "FALCON_DATA_DIR", t.TempDir())
	for _, args := range [][]string{{"token"}, {"send", "--title=T", "--message=M"}, {"send", "--user=1", "--message=M"}, {"send", "--user=1", "--title=T"}} {
		if code, _, errs := invoke(t, env, args...); code != exitUsage || !strings.Contains(errs, "missing flags: --") {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
	}
}
