package examples

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// sample is a block of the README: its language and its text.
type sample struct{ language, text string }

// samples are the blocks of the README's sections up to Configure, in order.
func samples(t *testing.T) []sample {
	t.Helper()
	text, _, found := strings.Cut(read(t, "../README.md"), "\n## Configure")
	if !found {
		t.Fatal("README.md has no section Configure")
	}
	var out []sample
	for _, m := range regexp.MustCompile("(?m)^```([a-z]+)\n((?s:.*?))^```$").FindAllStringSubmatch(text, -1) {
		out = append(out, sample{m[1], m[2]})
	}
	return out
}

// TestTheREADMEWorksInTheOrderWritten runs every sample of the README, from the first start
// to the last request, in one directory after the other as a reader does. Only ports and
// the data directory differ, and what would be fetched from elsewhere comes from what the
// other tests have: Debian's paho for Python, the module cache for Go. mqtt.js runs in
// clients/js/e2e, which has npm.
func TestTheREADMEWorksInTheOrderWritten(t *testing.T) {
	httpAddr, mqtt := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), fmt.Sprint(testserver.FreePort(t))
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(),
		"FALCON_DATA_DIR="+t.TempDir(), "FALCON_HTTP_ADDR="+httpAddr, "FALCON_MQTT_ADDR=127.0.0.1:"+mqtt,
		"FALCON_ADMIN_ADDR="+fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), "PATH=/usr/bin:"+os.Getenv("PATH"))
	offline := append(env, "GOPROXY=file://"+strings.TrimSpace(string(cache))+"/cache/download", "GOSUMDB=off", "GOFLAGS=-mod=mod")
	ports := strings.NewReplacer("127.0.0.1:8080", httpAddr, "-p 1883", "-p "+mqtt, "port=1883", "port="+mqtt, "127.0.0.1:1883", "127.0.0.1:"+mqtt)

	// begin starts script in dir and reads what it prints.
	begin := func(dir string, env []string, script string) *bufio.Scanner {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", ports.Replace(script))
		cmd.Dir, cmd.Env, cmd.Stderr = dir, env, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			// go run ends at once, while the server that it started drains and writes to its
			// directory. The output ends with the last of them.
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
		})
		return bufio.NewScanner(out)
	}

	var token string // the line that sets TOKEN
	var devices []*bufio.Scanner
	ran := map[string]int{}
	for _, s := range samples(t) {
		switch what := s.language + " " + firstWords(s.text); what {
		case "sh go run ./cmd/falconbridge --locale":
			begin("..", env, s.text)
			testserver.Eventually(t, 4*patience, func() error { // go run builds it
				r, err := http.Get("http://" + httpAddr + "/readyz")
				if err == nil {
					_ = r.Body.Close()
				}
				return err
			})
		case "sh go run ./cmd/falconbridge tail":
			devices = append(devices, begin("..", env, s.text))
		case "sh go run ./cmd/falconbridge send":
			expect(t, begin("..", env, s.text), `"seq":`)
			expect(t, devices[0], "Your report was reviewed")
		case "sh make test":
			continue // this is it
		case "sh TOKEN=$(go run ./cmd/falconbridge token":
			token = s.text
		case "sh mosquitto_sub -V 5 -h":
			devices = append(devices, begin("..", env, token+s.text))
			expect(t, devices[len(devices)-1], "Your report was reviewed") // as retained
		case "python import json import os":
			dir := t.TempDir()
			write(t, dir, "inbox.py", ports.Replace(s.text))
			devices = append(devices, begin("..", env, token+"cd "+dir+"; TOKEN=$TOKEN python3 -u inbox.py"))
			expect(t, devices[len(devices)-1], "Your report was reviewed")
		case "go package main import (":
			dir := t.TempDir()
			write(t, dir, "main.go", ports.Replace(s.text))
			steps := regexp.MustCompile("(?m)^\\*\\*paho, Go\\*\\* — save as `main.go` in an empty directory, run `([^`]+)`, then `([^`]+)`:$").FindStringSubmatch(read(t, "../README.md"))
			if steps == nil {
				t.Fatal("README.md does not say how to run the program in Go")
			}
			devices = append(devices, begin("..", offline, token+"cd "+dir+"; "+steps[1]+"; "+steps[2]))
			expect(t, devices[len(devices)-1], "Your report was reviewed")
		case "sh ADMIN=$(go run ./cmd/falconbridge token":
			expect(t, begin("..", env, s.text), `"message":"Notification created"`)
			for _, d := range devices[1:] { // each has the first one, and now the second
				expect(t, d, "Your report was reviewed")
			}
		case "js import mqtt from 'mqtt'", "json {\"id\": 27, \"seq\": 3,":
			// See clients/js/e2e/outage.test.ts; an example of what arrives.
		default:
			t.Errorf("a sample that nothing runs: %s", what)
		}
		ran[s.language]++
	}
	if ran["sh"] < 6 || ran["python"] != 1 || ran["go"] != 1 || ran["js"] != 1 {
		t.Errorf("samples that ran: %v", ran)
	}
}

// firstWords are the first words of text, four at most.
func firstWords(text string) string {
	words := strings.Fields(text)
	return strings.TrimSuffix(strings.Join(words[:min(len(words), 4)], " "), ";")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
