package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// Twenty callers share five connections: all get a response, and the process never has
// a sixth, including those of the bus. The limit is configured, or read from the role.
func TestFiveConnectionsServeTwentyCallers(t *testing.T) {
	t.Parallel()
	pg := testserver.NewPostgres(t)
	admin := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(pg.URL)))
	defer admin.Close()
	exec := func(q string) {
		t.Helper()
		if _, err := admin.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for user, tt := range map[string]struct {
		role string
		args []string
	}{
		"set":   {"LOGIN", []string{"--db-max-connections=5"}},
		"found": {"LOGIN CONNECTION LIMIT 5", nil},
	} {
		t.Run(user, func(t *testing.T) {
			exec("CREATE ROLE " + user + " " + tt.role)
			exec("CREATE DATABASE " + user + " OWNER " + user)
			url := strings.NewReplacer("falcon@", user+"@", "/falcon?", "/"+user+"?").Replace(pg.URL)
			p := testserver.NewProgram(t, with("DATABASE_URL", url), tt.args...)
			ctx, cancel := context.WithCancel(t.Context())
			most, sampled := 0, make(chan error, 1)
			go func() {
				for ctx.Err() == nil {
					var n int
					if err := admin.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", user).Scan(&n); err != nil {
						sampled <- err
						return
					}
					most = max(most, n)
				}
				sampled <- nil
			}()
			var callers sync.WaitGroup
			for i := range 20 {
				callers.Go(func() {
					for range 9 {
						notify(t, p.HTTP, fmt.Sprint(i+1), "few")
						caller{base: p.HTTP, token: sign(t, fmt.Sprint(i+1), 0)}.do(t, "GET", "/notifications", nil, 200, nil)
					}
				})
			}
			callers.Wait()
			cancel()
			if err := <-sampled; err != nil || most > 5 || most < 3 {
				t.Errorf("at most %d connections, %v", most, err)
			}
			if err := p.WaitReady(10 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}
