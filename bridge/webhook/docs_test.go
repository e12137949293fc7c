package webhook

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

// A program with the receiver of docs/push.md, which prints its port and then each webhook.
const receiver = `package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func enqueue(id string, body []byte) { fmt.Println(id, string(body)) }

func receive(secret string) error {
SAMPLE
	return nil
}

func main() {
	err := receive(os.Getenv("WEBHOOK_SECRET"))
	l, failed := net.Listen("tcp", "127.0.0.1:0")
	if err != nil || failed != nil {
		panic(fmt.Sprint(err, failed))
	}
	fmt.Println(l.Addr())
	panic(http.Serve(l, nil))
}
`

func TestTheDocumentedReceiverInGoVerifies(t *testing.T) {
	text, err := os.ReadFile("../../docs/push.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sample, _ := strings.Cut(string(text), "```go\n")
	sample, _, found := strings.Cut(sample, "```\n")
	if !found {
		t.Fatal("docs/push.md has no sample in Go")
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "receiver")
	if err := os.WriteFile(source, []byte(strings.Replace(receiver, "SAMPLE", sample, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("build the sample: %v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	cmd.Env, cmd.Stderr = append(os.Environ(), "WEBHOOK_SECRET="+newSecret), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	line := func() string {
		if !lines.Scan() {
			t.Fatalf("the receiver ended: %v", lines.Err())
		}
		return lines.Text()
	}

	secrets := func(text string) Secrets {
		s, err := ParseSecrets([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := NewSender(mustURL(t, "http://"+line()+"/hooks/late"), secrets(oldSecret))
	n := &bridge.Notification{ID: 27, Seq: 3, User: "7", Kind: bridge.KindMessage, Title: "T", Message: "M"}
	rule := late.Rule{When: late.Unread}
	if o := s.Send(t.Context(), "msg_0", rule, n); o.Status != http.StatusUnauthorized {
		t.Errorf("signed with another secret: %+v", o)
	}
	s.SetSecrets(secrets(oldSecret + "\n" + newSecret))
	if o := s.Send(t.Context(), "msg_1", rule, n); o.Result != late.Sent {
		t.Errorf("signed with its secret as well: %+v", o)
	}
	if got := line(); !strings.HasPrefix(got, `msg_1 {"type":"notification.unread"`) {
		t.Errorf("the receiver printed %s", got)
	}
}
