package main

import (
	"database/sql"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestMetricsCountEventsAndAreServedOnTheAdminListenerOnly(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	tail := begin(t, p.Command("tail", "--user=1", "--count=2"))
	tail.says(t, "subscribed")
	notify(t, p.HTTP, "1", "a confidential title")
	tail.json(t, 1)
	caller{base: p.HTTP}.do(t, "GET", "/notifications", nil, 401, nil)
	caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/notifications/count", nil, 200, nil)
	caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/some/long/path/of/an/attacker", nil, 404, nil)
	caller{base: p.HTTP}.do(t, "GET", "/", nil, 200, nil)
	caller{base: p.HTTP}.do(t, "GET", "/mqtt", nil, 426, nil)

	var text string
	admin := caller{base: p.Admin}
	admin.do(t, "GET", "/metrics", nil, 200, &text)
	for _, want := range []string{
		`falconbridge_connections 1`,
		`falconbridge_mqtt_logins_total 1`,
		`falconbridge_messages_sent_total 1`,
		`falconbridge_delivery_duration_seconds_count 1`,
		`falconbridge_http_requests_total{class="2xx",method="POST",route="/notifications"} 1`,
		`falconbridge_http_requests_total{class="4xx",method="GET",route="/notifications"} 1`,
		`falconbridge_http_requests_total{class="2xx",method="GET",route="/notifications/count"} 1`,
		`falconbridge_http_requests_total{class="4xx",method="GET",route="other"} 1`,
		`falconbridge_http_requests_total{class="2xx",method="GET",route="pages"} 1`,
		`falconbridge_http_requests_total{class="4xx",method="GET",route="/mqtt"} 1`,
		`falconbridge_commit_to_send_seconds_count{kind="live",transport="tcp"} 1`,
		`falconbridge_commit_to_send_seconds_count{kind="replay",transport="wss"} 0`,
		`falconbridge_commit_to_ack_seconds_count{kind="live",transport="tcp"} 1`,
		`falconbridge_notifications_created_total{source="rest"} 1`,
		`falconbridge_notifications_created_total{source="batch"} 0`,
		`falconbridge_notifications_created_total{source="report"} 0`,
		`falconbridge_notifications_created_total{source="sql"} 0`,
		`falconbridge_notifications_created_total{source="import"} 0`,
		`falconbridge_mqtt_connections{protocol="5",transport="tcp"} 1`,
		`falconbridge_mqtt_connections{protocol="3.1.1",transport="ws"} 0`,
		`falconbridge_mqtt_refused_total{code="0x87"} 0`,
		`falconbridge_database_errors_total{kind="unavailable"} 0`,
		`falconbridge_committer_transactions_total 1`,
		`falconbridge_committer_fsync_seconds_total `,
		`falconbridge_sweep_repairs_total 0`,
		`falconbridge_removed_rows_total{why="retention"} 0`,
		`falconbridge_removed_rows_total{why="expired"} 0`,
		`falconbridge_removed_rows_total{why="sessions"} 0`,
		`falconbridge_backlog_sessions 0`,
		`falconbridge_in_flight 0`,
		`falconbridge_oldest_unacknowledged_seconds 0`,
		`falconbridge_sessions_absent 0`,
		`falconbridge_bus_connected 1`,
		`falconbridge_limited_total{limit="handshakes_per_address"} 0`,
		`falconbridge_limited_total{limit="upgrades_per_address"} 0`,
		`falconbridge_http_request_duration_seconds_count{method="POST",route="/notifications"} 1`,
		`falconbridge_ready{part="database"} 1`,
		`falconbridge_ready{part="bus"} 1`,
		`falconbridge_key_file_failures_total{setting="jwt-public-key-file"} 0`,
		`falconbridge_key_file_failures_total{setting="jwt-secret-file"} 0`,
		`falconbridge_key_file_failures_total{setting="webhook-secret-file"} 0`,
		`falconbridge_limited_total{limit="connections_per_user"} 0`,
		`falconbridge_limited_total{limit="packet_rate"} 0`,
		`falconbridge_limited_total{limit="requests_per_user"} 0`,
		`falconbridge_limited_total{limit="body_size"} 0`,
		`falconbridge_database_connections{pool="read",state="idle"} `,
		`falconbridge_database_connections{pool="write",state="used"} `,
		`falconbridge_database_connections_max{pool="write"} 1`,
		`falconbridge_database_waits_total{pool="read"} `,
		`falconbridge_database_wait_seconds_total{pool="read"} `,
		`falconbridge_build_info{version="`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, bad := range []string{"confidential", "attacker", "eyJ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the metrics contain %q", bad)
		}
	}
	for _, line := range lines(text) {
		if name := regexp.MustCompile(`^# TYPE (falconbridge_\S+) counter`).FindStringSubmatch(line); name != nil && !strings.HasSuffix(name[1], "_total") {
			t.Errorf("the counter %s does not end in _total", name[1])
		}
	}

	admin.do(t, "GET", "/healthz", nil, 200, nil)
	admin.do(t, "GET", "/readyz", nil, 200, nil)
	admin.do(t, "GET", "/debug/pprof/goroutine?debug=1", nil, 200, nil)
	public := caller{base: p.HTTP}
	public.do(t, "GET", "/healthz", nil, 200, nil)
	public.do(t, "GET", "/readyz", nil, 200, nil)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine"} {
		public.do(t, "GET", path, nil, 404, nil)
	}
}

// An application that appends by SQL calls no node. Every node is notified of it, so a sum
// over nodes would count it several times.
func TestNotificationsOfFalconNotifyAreCountedByTheirSource(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	env := with("DATABASE_URL", url)
	nodes := []*testserver.Program{testserver.NewProgram(t, env), testserver.NewProgram(t, env)}
	app := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	t.Cleanup(func() { _ = app.Close() })
	for range 3 {
		if _, err := app.ExecContext(t.Context(), "SELECT falcon_notify('1', 'title', 'message')"); err != nil {
			t.Fatal(err)
		}
	}
	notify(t, nodes[0].HTTP, "1", "title")
	for i, p := range nodes {
		testserver.Eventually(t, waitLimit, func() error {
			text, err := fetch(p.Admin + "/metrics")
			for _, want := range []string{`{source="sql"} 3`, fmt.Sprintf(`{source="rest"} %d`, 1-i)} {
				if err == nil && !strings.Contains(text, "\nfalconbridge_notifications_created_total"+want+"\n") {
					err = fmt.Errorf("node %d does not say %s", i, want)
				}
			}
			return err
		})
	}
}

func TestTheAdminListenerCanBeOff(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, production, "--admin-addr=off")
	if err := p.Begin(); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, waitLimit, func() error {
		return exec.CommandContext(t.Context(), "curl", "-fsS", "-o", "/dev/null", p.HTTP+"/readyz").Run()
	})
	if strings.Contains(p.Log(), "admin-addr") {
		t.Errorf("it listens: %s", p.Log())
	}
}
