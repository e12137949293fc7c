// Package check reads the files of deploy/ with the libraries of the tools that use them.
// It is a separate module, so that the program does not depend on these libraries.
package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheManifestsFitTheSchemasOfKubernetes(t *testing.T) {
	var deployment *appsv1.Deployment
	var services []*corev1.Service
	kinds := make(map[string]int)
	for _, doc := range bytes.Split(read(t, "../kubernetes/falconbridge.yaml"), []byte("\n---\n")) {
		var head struct{ Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		var into any
		switch head.Kind {
		case "ServiceAccount":
			into = &corev1.ServiceAccount{}
		case "Deployment":
			deployment = &appsv1.Deployment{}
			into = deployment
		case "Service":
			services = append(services, &corev1.Service{})
			into = services[len(services)-1]
		case "PodDisruptionBudget":
			into = &policyv1.PodDisruptionBudget{}
		case "NetworkPolicy":
			into = &networkingv1.NetworkPolicy{}
		default:
			t.Fatalf("a document of kind %q", head.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		kinds[head.Kind]++
	}
	if kinds["PodDisruptionBudget"] != 1 || kinds["NetworkPolicy"] != 1 || deployment == nil {
		t.Fatalf("documents %v", kinds)
	}
	pod := deployment.Spec.Template.Spec
	ports := make(map[string]bool)
	for _, c := range pod.Containers {
		env := make(map[string]string)
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		drains(t, c.Name, env, time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second)
		if c.Resources.Limits.Memory().IsZero() || env["FALCON_JWT_SECRET_FILE"] == "" || env["FALCON_DATABASE_URL_FILE"] == "" {
			t.Errorf("%s has no limit of memory, or secrets that are no files", c.Name)
		}
		if !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation {
			t.Errorf("%s runs with more rights than it needs", c.Name)
		}
		if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
			t.Errorf("%s is restarted for more than being dead, or not asked whether it is ready", c.Name)
		}
		for _, p := range c.Ports {
			ports[p.Name] = true
		}
		pinned(t, c.Image)
	}
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("service %s leads to port %q, which no container has", s.Name, p.TargetPort.StrVal)
			}
		}
		for k, v := range s.Spec.Selector {
			if deployment.Spec.Template.Labels[k] != v {
				t.Errorf("service %s selects nothing", s.Name)
			}
		}
	}
}

// pinned fails where an image's tag moves: its version has to have three parts, or it has a digest.
func pinned(t *testing.T, image string) {
	t.Helper()
	if !regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?(-[a-z]+[0-9.]*)?$|@sha256:[0-9a-f]{64}$`).MatchString(image) {
		t.Errorf("%s is not pinned", image)
	}
}

// drains fails where a process with env may be killed before it has drained.
func drains(t *testing.T, name string, env map[string]string, grace time.Duration) {
	t.Helper()
	total := 5 * time.Second
	for setting, otherwise := range map[string]string{"FALCON_DRAIN_DELAY": "0s", "FALCON_DRAIN_TIME": "10s"} { // docs/configuration.md
		d, err := time.ParseDuration(cmp.Or(env[setting], otherwise))
		if err != nil {
			t.Fatal(err)
		}
		total += d
	}
	if grace < total {
		t.Errorf("%s is killed after %v, and drains for %v", name, grace, total)
	}
}

func project(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithProfiles(profiles), cli.WithName("falconbridge"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context()) // against the schema of compose
	if err != nil {
		t.Fatalf("profiles %v: %v", profiles, err)
	}
	return p
}

func TestTheComposeFileIsValidWithEachOfItsProfiles(t *testing.T) {
	for _, tt := range []struct {
		profiles, services []string
	}{
		{nil, []string{"bridge", "postgres"}},
		{[]string{"cluster"}, []string{"bridge", "bridge-a", "bridge-b", "bridge-c", "haproxy", "postgres", "redis"}},
		{[]string{"observe"}, []string{"bridge", "grafana", "postgres", "prometheus"}},
	} {
		p := project(t, tt.profiles...)
		names := p.ServiceNames()
		slices.Sort(names)
		if !slices.Equal(names, tt.services) {
			t.Errorf("profiles %v have %v", tt.profiles, names)
		}
		for _, s := range p.Services {
			if s.Build == nil {
				pinned(t, s.Image)
			}
			if s.MemLimit == 0 || s.PidsLimit == 0 || s.Logging == nil || s.Logging.Options["max-size"] == "" {
				t.Errorf("%s has no limit of memory, processes or its log", s.Name)
			}
			if _, ok := s.Environment["FALCON_JWT_SECRET_FILE"]; ok { // a bridge
				env := make(map[string]string)
				for name, value := range s.Environment {
					env[name] = *value
				}
				drains(t, s.Name, env, time.Duration(*s.StopGracePeriod))
				if test := s.HealthCheck.Test; test[len(test)-1] != "--live" {
					t.Errorf("%s is restarted for more than being dead: %v", s.Name, test)
				}
			}
			for name, value := range s.Environment {
				if value != nil && *value != "" && !strings.HasSuffix(name, "FILE") && regexp.MustCompile(`PASSWORD|SECRET`).MatchString(name) {
					t.Errorf("%s has a secret in %s", s.Name, name)
				}
			}
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind {
					if _, err := os.Stat(v.Source); err != nil {
						t.Errorf("%s: %v", s.Name, err)
					}
				}
			}
		}
	}
}

func TestTheDashboardFitsGrafanasSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	raw := read(t, "../grafana/falconbridge.json")
	var d dashboard.Dashboard
	var faults cog.BuildErrors // the SDK returns one without entries where all is well
	if err := d.UnmarshalJSONStrict(raw); err != nil && (!errors.As(err, &faults) || len(faults) > 0) {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil && (!errors.As(err, &faults) || len(faults) > 0) {
		t.Fatal(err)
	}
	var layout struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(raw, &layout); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for i, p := range layout.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: id %d, %+v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		for _, q := range layout.Panels[:i] {
			if p.GridPos.X < q.GridPos.X+q.GridPos.W && q.GridPos.X < p.GridPos.X+p.GridPos.W &&
				p.GridPos.Y < q.GridPos.Y+q.GridPos.H && q.GridPos.Y < p.GridPos.Y+p.GridPos.H {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
	}
}

func TestGrafanasProvisioningIsStrictYAML(t *testing.T) {
	files, err := filepath.Glob("../grafana/provisioning/*/*.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		var v map[string]any
		if err := yaml.UnmarshalStrict(read(t, f), &v); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
