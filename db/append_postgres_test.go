package db

import (
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// batch runs commands in one transaction, as a committer does.
func batch(d *DB, cmds ...bridge.Command) []outcome {
	var calls []*call
	for _, c := range cmds {
		calls = append(calls, &call{cmd: c})
	}
	return newAppender(d).run(calls, nil, dontWait)
}

// Many commands of one draft each are stored by a single statement where possible. Those
// that it cannot store take the general path in the same call.
func TestABatchStoresAllUsersButTheLockedOne(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	for _, u := range []bridge.UserID{"known", "locked"} {
		mustAppend(t, d, one(u, "t"))
	}
	release := lockInbox(t, d, "locked")
	outs := batch(d, one("known", "a"), one("locked", "a"), one("new", "a"), one("known", "b"), one("new", "b"))
	release()
	for i, want := range []struct {
		what verdict
		seq  bridge.Seq
	}{{appended, 2}, {busy, 0}, {appended, 1}, {appended, 3}, {appended, 2}} {
		got := outs[i]
		if got.what != want.what {
			t.Errorf("command %d is %q, want %q (%v)", i, got.what, want.what, got.err)
		} else if want.seq > 0 && (len(got.appended) != 1 || got.appended[0].Seq != want.seq) {
			t.Errorf("command %d stored %v, want seq %d", i, got.appended, want.seq)
		}
	}
	for _, u := range []bridge.UserID{"known", "locked", "new"} {
		checkCounts(t, d, u)
	}
}

// Quotes, backslashes, braces and the word NULL have a meaning in Postgres' array and
// string literals. In a title they are ordinary text.
func TestTextThatLooksLikeAnArrayLiteralIsStoredUnchanged(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		for _, text := range []string{`'`, `"`, `\`, `\'); DROP TABLE falcon_keys; --`, `{"a","b"}`, `NULL`, `,`, `?`, `?0`, `E'\x00'`, "\n\t", "ñ漢😀", ` `, `$1`} {
			for _, cmds := range [][]bridge.Command{
				{one("alone", text)},
				{one("x", text), one("y", text)},
				{{Drafts: []bridge.Draft{draft("x", text), draft("y", text)}}},
				{keyed(one("x", text), text, text)},
			} {
				for i, o := range batch(d, cmds...) {
					if o.what != appended {
						t.Errorf("%q: command %d of %d is %q: %v", text, i, len(cmds), o.what, o.err)
						continue
					}
					if n, err := d.Find(testContext(t), o.appended[0].ID); err != nil || n.Title != text {
						t.Errorf("%q is stored as %q: %v", text, n.Title, err)
					}
				}
			}
		}
	})
}

// While a cluster is restarted node by node, nodes of the previous release call
// falcon_append_plain in a database that the first new node has already migrated.
func TestNodesOfThePreviousReleaseCanStillAppend(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	mustAppend(t, d, one("u", "new node"))
	const former = `SELECT seq FROM falcon_append_plain('{u}', '{message}', '{t}', '{m}', '{0}', '{0}', '{""}', 1, NULL)`
	if seq := number(t, d, former); seq != 2 {
		t.Errorf("the append of a node of the previous release has seq %d, want 2", seq)
	}
	if res := mustAppend(t, d, one("u", "new node")); res.Appended[0].Seq != 3 {
		t.Errorf("the next append has seq %d, want 3", res.Appended[0].Seq)
	}
	checkCounts(t, d, "u")
}
