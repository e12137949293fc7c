package db

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestPostgresErrorsAreMappedBySQLSTATE(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	for state, want := range map[string]error{
		"53100": bridge.ErrUnavailable, // disk full
		"53200": bridge.ErrUnavailable, // out of memory, too many locks
		"53300": bridge.ErrUnavailable, // too many connections
		"25006": bridge.ErrUnavailable, // read-only: a standby
		"55P03": bridge.ErrUnavailable, // lock_timeout
		"57014": bridge.ErrUnavailable, // statement_timeout
		"57P01": bridge.ErrUnavailable, // shut down
		"40P01": bridge.ErrUnavailable, // deadlock
		"42P01": bridge.ErrUnavailable, // not migrated
		"58030": bridge.ErrUnavailable, // I/O error
		"XX000": bridge.ErrUnavailable,
		"23505": bridge.ErrConflict,
		"22001": &bridge.InvalidError{},
		"22021": &bridge.InvalidError{},
		"23514": &bridge.InvalidError{},
	} {
		_, err := d.write.ExecContext(testContext(t), fmt.Sprintf("DO $$ BEGIN RAISE EXCEPTION 'secret text' USING ERRCODE = '%s'; END $$", state))
		got := d.fail("try", err)
		var invalid *bridge.InvalidError
		if _, ok := want.(*bridge.InvalidError); ok && !errors.As(got, &invalid) || !ok && !errors.Is(got, want) {
			t.Errorf("%s is mapped to %v, want %v", state, got, want)
		}
		if strings.Contains(got.Error(), "secret") {
			t.Errorf("%s: the error repeats the server's text: %v", state, got)
		}
	}
	if err := d.fail("nothing", nil); err != nil {
		t.Errorf("nil is mapped to %v", err)
	}
}

func TestWhichErrorsOfABatchAreRetriedOneByOne(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		_, err := d.write.ExecContext(testContext(t), "INSERT INTO falcon_meta (key, value) VALUES ('a', NULL)")
		if !retryable(err) || classify(err) != refused {
			t.Errorf("a rejected value is %v, retryable %v", classify(err), retryable(err))
		}
		exec(t, d, "INSERT INTO falcon_meta (key, value) VALUES ('a', 'b')")
		_, err = d.write.ExecContext(testContext(t), "INSERT INTO falcon_meta (key, value) VALUES ('a', 'b')")
		if !retryable(err) || !errors.Is(d.fail("insert", err), bridge.ErrConflict) {
			t.Errorf("a duplicate key: %v", d.fail("insert", err))
		}
		_, err = d.read.ExecContext(testContext(t), "SELECT nothing FROM nowhere")
		if retryable(err) || !errors.Is(d.fail("read", err), bridge.ErrUnavailable) {
			t.Errorf("a missing table: %v", d.fail("read", err))
		}
	})
}
