// Package deploy contains the files for running falconbridge, and tests that check them
// with tools from Debian. The module deploy/check has the tests that need Go libraries.
package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// run runs a tool and fails the test where it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v (make packages installs what is missing)\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestEveryAlertFiresOnItsFaultAndNoneOnAHealthyNode(t *testing.T) {
	run(t, "promtool", "check", "config", "prometheus/prometheus.yml")
	run(t, "promtool", "test", "rules", "prometheus/rules_test.yml")
	rules, err := os.ReadFile("prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if strings.Count(string(tests), "alertname: "+m[1]) < 2 {
			t.Errorf("%s is not tested to fire and to be silent", m[1])
		}
		if !strings.Contains(string(manual), `<a id="`+strings.ToLower(m[1])+`">`) {
			t.Errorf("docs/operations.md does not say what %s means", m[1])
		}
	}
}

// promtool reads the dashboard's expressions as those of rules.
func TestTheDashboardsExpressionsAreValid(t *testing.T) {
	text, err := os.ReadFile("grafana/falconbridge.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	n := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			n++
			fmt.Fprintf(&rules, "      - {record: \"panel:%d\", expr: %q}\n", n, variables.Replace(target.Expr))
		}
	}
	if n < 20 {
		t.Fatalf("%d expressions", n)
	}
	name := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(name, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "promtool", "check", "rules", name)
}

func TestTheUnitIsValidAndSandboxed(t *testing.T) {
	text, err := os.ReadFile("systemd/falconbridge.service")
	if err != nil {
		t.Fatal(err)
	}
	// verify wants the program to be installed.
	unit := filepath.Join(t.TempDir(), "falconbridge.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/falconbridge", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "systemd-analyze", "verify", "--man=no", unit); strings.Contains(out, unit) {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	// Of 0 to 100; what is left is the network, which a server needs.
	run(t, "systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", unit)
}

// A secret that the service manager copies at the start, or that is mounted as a single
// file of a Kubernetes secret, stays what it was until a restart.
func TestADeployedSecretRotatesWithoutARestart(t *testing.T) {
	for name, frozen := range map[string]string{
		"systemd/falconbridge.service": `(?m)^(LoadCredential|SetCredential)|%d/|CREDENTIALS_DIRECTORY`,
		"kubernetes/falconbridge.yaml": `subPath|secretKeyRef`,
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "FALCON_JWT_SECRET_FILE") {
			t.Errorf("%s has no secret as a file", name)
		}
		if found := regexp.MustCompile(frozen).Find(text); found != nil {
			t.Errorf("%s has %s", name, found)
		}
	}
}

func TestTheBalancersConfigurationsAreValid(t *testing.T) {
	run(t, "haproxy", "-c", "-f", "compose/haproxy.cfg")
	run(t, "haproxy", "-c", "-f", "../docs/haproxy.cfg")
}

func TestTheImageIsPinnedRunsWithoutRootAndIsAskedForLifeOnly(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(from) == 0 {
		t.Fatal("no stage")
	}
	for _, m := range from {
		if !regexp.MustCompile(`^scratch$|:\d+\.\d+\.\d+(-[a-z]+)?$|@sha256:[0-9a-f]{64}$`).MatchString(m[1]) {
			t.Errorf("%s is not pinned", m[1])
		}
	}
	for _, line := range []string{
		"USER 65532:65532",
		`HEALTHCHECK .* CMD \["/usr/bin/falconbridge", "healthcheck", "--live"\]`,
		`RUN CGO_ENABLED=0 go build .*-X main\.release=\$\{VERSION\}.*`,
	} {
		if !regexp.MustCompile(`(?m)^` + line).Match(text) {
			t.Errorf("no %s", line)
		}
	}
}
