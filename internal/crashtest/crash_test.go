package crashtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func users(n int) []bridge.UserID {
	out := make([]bridge.UserID, n)
	for i := range out {
		out[i] = bridge.UserID(fmt.Sprint(i + 1))
	}
	return out
}

// withDatabase returns an environment for all nodes of a fleet, with the database at url.
func withDatabase(url string) func(int) []string {
	return func(int) []string { return []string{"FALCON_DATABASE_URL=" + url} }
}

// A process that is killed at random moments under load loses no notification whose post got a 201,
// and starts again without a repair.
func TestKilledProcessLosesNothing(t *testing.T) {
	f := newFleet(t, 1, withDatabase(testserver.Postgres(t)))
	us := users(6)
	ds := f.devices(us, nil)
	l, stop := f.posters(6, us)
	f.crash(kills(t, 20), l)
	stop()
	f.check(l, ds)
}

func TestKilledProcessLosesNothingOnSQLite(t *testing.T) {
	f := newFleet(t, 1, func(int) []string { return nil })
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	f.crash(kills(t, 10), l)
	stop()
	f.check(l, ds)
}

// When Postgres stops without a checkpoint, as by pg_ctl -m immediate, devices stay connected, no
// notification whose post got a 201 is lost, and everything resumes by itself.
func TestKilledPostgresLosesNothing(t *testing.T) {
	pg := testserver.NewPostgres(t)
	f := newFleet(t, 1, withDatabase(pg.URL))
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	for range 3 {
		<-time.After(700 * time.Millisecond) // under load
		if err := pg.Kill(); err != nil {
			t.Fatal(err)
		}
		<-time.After(500 * time.Millisecond) // unavailable for a while
		if err := pg.Start(); err != nil {
			t.Fatal(err)
		}
		f.nodes[0].ready(t)
	}
	stop()
	f.check(l, ds)
}
