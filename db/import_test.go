package db

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// past returns n notifications of u to import, with IDs of another application from first.
func past(u bridge.UserID, first int64, n int) []ImportedNotification {
	out := make([]ImportedNotification, n)
	for i := range out {
		out[i] = ImportedNotification{ID: first + int64(i), CreatedAt: time.UnixMilli(1_700_000_000_000 + int64(i)).UTC(),
			Draft: bridge.Draft{User: u, Kind: bridge.KindMessage, Title: fmt.Sprintf("Pasado %d ? 'ñ\" \\", i+1), Message: "línea 1\nlínea 2"}}
	}
	return out
}

// pastID returns the first of 10,000 IDs of the other application that no other test uses.
var pastID = func() func() int64 {
	var mu sync.Mutex
	next := int64(1)
	return func() int64 { mu.Lock(); defer mu.Unlock(); next += 10_000; return next }
}()

func TestImportedNotificationsAreHistory(t *testing.T) {
	together(t, map[string]func(t *testing.T, d *DB){
		"they keep their fields and are counted": func(t *testing.T, d *DB) {
			ctx, u, id := testContext(t), fresh(), pastID()
			ns := past(u, id, 3)
			ns[1].Kind, ns[1].ReportID, ns[1].StatusID, ns[1].Data = bridge.KindReportStatus, 5, bridge.Approved, []byte(`{"a":"b"}`)
			ns[2].ReadAt = time.UnixMilli(1_700_000_100_000).UTC()
			if added, err := d.ImportNotifications(ctx, ns); err != nil || added != 3 {
				t.Fatalf("added %d, %v", added, err)
			}
			page, err := d.List(ctx, bridge.Query{User: u, Forward: true, Limit: 10})
			must(t, err)
			if page.Count != (bridge.Count{Total: 3, Unread: 2, Last: 3}) {
				t.Errorf("counts %+v", page.Count)
			}
			for i, got := range page.Items {
				want := bridge.Notification{ID: got.ID, Seq: bridge.Seq(i + 1), User: u, Kind: ns[i].Kind, Title: ns[i].Title, Message: ns[i].Message,
					CreatedAt: ns[i].CreatedAt, ReadAt: ns[i].ReadAt, ReportID: ns[i].ReportID, StatusID: ns[i].StatusID, Data: ns[i].Data, Muted: true}
				if got.CreatedAt != want.CreatedAt || got.ReadAt != want.ReadAt || string(got.Item()) != string(want.Item()) || !got.Muted {
					t.Errorf("item %d is %s, want %s", i, got.Item(), want.Item())
				}
			}
			checkCounts(t, d, u)
		},
		"they are not delivered, but the latest is retained": func(t *testing.T, d *DB) {
			ctx, u := testContext(t), fresh()
			seed(t, d, u, 2)
			changed, err := d.Now(ctx)
			must(t, err)
			_, err = d.ImportNotifications(ctx, past(u, pastID(), 4))
			must(t, err)
			live := seed(t, d, u, 1)
			if live[0].Seq != 7 || live[0].Muted {
				t.Errorf("the next notification has seq %d, muted %v", live[0].Seq, live[0].Muted)
			}
			after, err := d.After(ctx, u, 2, 10)
			must(t, err)
			if got := seqsOf(after); !slices.Equal(got, []bridge.Seq{7}) {
				t.Errorf("delivered after 2: %v", got)
			}
			feed, _, _, err := d.Since(ctx, changed, 10)
			must(t, err)
			for _, n := range feed {
				if n.User == u && n.Seq != 7 {
					t.Errorf("the feed has seq %d", n.Seq)
				}
			}
			u = fresh()
			_, err = d.ImportNotifications(ctx, past(u, pastID(), 2))
			must(t, err)
			if head, err := d.Head(ctx, u); err != nil || head.Last != 2 || head.Latest == nil || head.Latest.Seq != 2 {
				t.Errorf("head %+v, %v", head, err)
			}
			checkCounts(t, d, u)
		},
		"a second import changes nothing, even after a deletion or an erasure": func(t *testing.T, d *DB) {
			ctx, u, id := testContext(t), fresh(), pastID()
			ns := past(u, id, 3)
			_, err := d.ImportNotifications(ctx, append(ns[:2:2], ns[0])) // with an ID twice
			must(t, err)
			page, err := d.List(ctx, bridge.Query{User: u, Limit: 10})
			must(t, err)
			must(t, d.Delete(ctx, u, page.Items[0].ID))
			if added, err := d.ImportNotifications(ctx, ns); err != nil || added != 1 {
				t.Errorf("again: added %d, %v; want the third", added, err)
			}
			if c, err := d.Count(ctx, u); err != nil || c != (bridge.Count{Total: 2, Unread: 2, Last: 3}) {
				t.Errorf("counts %+v, %v", c, err)
			}
			must(t, second(d.Erase(ctx, u)))
			if added, err := d.ImportNotifications(ctx, ns); err != nil || added != 0 {
				t.Errorf("after the user was erased: added %d, %v", added, err)
			}
		},
		"more than MaxImport at once are refused": func(t *testing.T, d *DB) {
			if _, err := d.ImportNotifications(testContext(t), past(fresh(), pastID(), MaxImport+1)); err == nil {
				t.Error("no error")
			}
		},
		"concurrent imports and appends leave no gap": func(t *testing.T, d *DB) {
			ctx, us := testContext(t), []bridge.UserID{fresh(), fresh(), fresh()}
			same := pastID()
			jobs := []func(i int) error{
				func(i int) error { // two imports of the same file
					return second(d.ImportNotifications(ctx, mixed(us, same+int64(i)*10, false)))
				},
				func(i int) error { return second(d.ImportNotifications(ctx, mixed(us, same+int64(i)*10, true))) },
				func(i int) error {
					return second(d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{
						{User: us[i%3], Title: "T", Message: "M"}, {User: us[(i+1)%3], Title: "T", Message: "M"}}}))
				},
			}
			var wg sync.WaitGroup
			errs := make([]error, len(jobs))
			for w, job := range jobs {
				wg.Go(func() {
					for i := range 15 {
						errs[w] = errors.Join(errs[w], job(i))
					}
				})
			}
			wg.Wait()
			must(t, errors.Join(errs...))
			total := int64(0)
			for _, u := range us {
				checkCounts(t, d, u)
				page, err := d.List(ctx, bridge.Query{User: u, Forward: true, Limit: 200})
				must(t, err)
				for i, n := range page.Items {
					if n.Seq != bridge.Seq(i+1) {
						t.Fatalf("user %s: item %d has seq %d", u, i+1, n.Seq)
					}
				}
				total += page.Count.Total
			}
			if want := int64(15*6 + 15*2); total != want {
				t.Errorf("%d notifications, want %d", total, want)
			}
		},
	})
}

// mixed returns two notifications for each of us, alternating or in the reverse order.
func mixed(us []bridge.UserID, id int64, reverse bool) []ImportedNotification {
	var out []ImportedNotification
	for i := range 2 * len(us) {
		out = append(out, past(us[i%len(us)], id+int64(i), 1)...)
	}
	if reverse {
		slices.Reverse(out)
	}
	return out
}

func TestImportedReportsKeepTheirIDs(t *testing.T) {
	together(t, map[string]func(t *testing.T, d *DB){
		"new reports get higher IDs": func(t *testing.T, d *DB) {
			ctx, u, id := testContext(t), fresh(), pastID()
			created := time.UnixMilli(1_700_000_000_000).UTC()
			rs := []ImportedReport{
				{NewReport: bridge.NewReport{ID: id, Title: "Uno", User: u, Status: bridge.Approved}, CreatedAt: created, UpdatedAt: created.Add(time.Hour)},
				{NewReport: bridge.NewReport{ID: id + 3, Title: "Dos", User: u, Status: bridge.Pending}, CreatedAt: created, UpdatedAt: created},
			}
			if added, err := d.ImportReports(ctx, rs); err != nil || added != 2 {
				t.Fatalf("added %d, %v", added, err)
			}
			got, err := d.Report(ctx, id)
			must(t, err)
			want := bridge.Report{ID: id, Title: "Uno", User: u, Status: bridge.Approved, CreatedAt: created, UpdatedAt: created.Add(time.Hour)}
			if got != want {
				t.Errorf("report %+v, want %+v", got, want)
			}
			if next := newReport(t, d, bridge.NewReport{Title: "Tres", User: u}); next.ID <= id+3 {
				t.Errorf("the next report has id %d", next.ID)
			}
			_, err = d.Append(ctx, bridge.Command{Change: &bridge.StatusChange{Report: id, Status: bridge.Rejected, Title: "Uno", User: u},
				Drafts: []bridge.Draft{{User: u, Title: "T", Message: "M"}}})
			must(t, err)
			if added, err := d.ImportReports(ctx, rs); err != nil || added != 0 {
				t.Errorf("again: added %d, %v", added, err)
			}
			if got, err = d.Report(ctx, id); err != nil || got.Status != bridge.Rejected {
				t.Errorf("after a status change and a second import: %+v, %v", got, err)
			}
		},
		"an existing report is kept; one that differs fails the import": func(t *testing.T, d *DB) {
			ctx, u, id := testContext(t), fresh(), pastID()
			newReport(t, d, bridge.NewReport{ID: id, Title: "Uno", User: u, Status: bridge.Rejected})
			now := time.Now()
			uno := ImportedReport{At: "reports[0]", NewReport: bridge.NewReport{ID: id, Title: "Uno", User: u, Status: bridge.Pending}, CreatedAt: now, UpdatedAt: now}
			dos := uno
			dos.At, dos.ID = "reports[1]", id+1
			other := dos
			other.At, other.User = "reports[2]", fresh()
			newReport(t, d, bridge.NewReport{ID: other.ID + 1, Title: "Ajeno", User: u, Status: bridge.Rejected})
			other.ID++
			var bad *bridge.InvalidError
			if _, err := d.ImportReports(ctx, []ImportedReport{uno, dos, other}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "reports[2].id") {
				t.Fatalf("an ID of another report: %v", err)
			}
			if _, err := d.Report(ctx, dos.ID); !errors.Is(err, bridge.ErrNotFound) {
				t.Errorf("the failed import stored a report: %v", err)
			}
			if added, err := d.ImportReports(ctx, []ImportedReport{uno, dos}); err != nil || added != 2 {
				t.Errorf("without it: added %d, %v", added, err)
			}
			if got, err := d.Report(ctx, id); err != nil || got.Status != bridge.Rejected {
				t.Errorf("the existing report: %+v, %v", got, err)
			}
		},
	})
}

func TestSettingsAreImportedOnce(t *testing.T) {
	together(t, map[string]func(t *testing.T, d *DB){
		"with an inbox, without one, and after a later change": func(t *testing.T, d *DB) {
			ctx, with, without, on := testContext(t), fresh(), fresh(), fresh()
			seed(t, d, with, 1)
			ss := []ImportedSettings{{User: with}, {User: without}, {User: on, Settings: bridge.DefaultSettings()}}
			if added, err := d.ImportSettings(ctx, ss); err != nil || added != 3 {
				t.Fatalf("added %d, %v", added, err)
			}
			for u, want := range map[bridge.UserID]bool{with: false, without: false, on: true} {
				if s, err := d.Settings(ctx, u); err != nil || s.ReviewEnabled != want {
					t.Errorf("user %s: %+v, %v", u, s, err)
				}
			}
			if n := number(t, d, "SELECT count(*) FROM falcon_inboxes WHERE user_id = ?", on); n != 0 {
				t.Error("importing the default settings created an inbox")
			}
			must(t, set(ctx, d, with, bridge.DefaultSettings()))
			if added, err := d.ImportSettings(ctx, ss); err != nil || added != 0 {
				t.Errorf("again: added %d, %v", added, err)
			}
			if s, err := d.Settings(ctx, with); err != nil || !s.ReviewEnabled {
				t.Errorf("a second import undid the user's change: %+v, %v", s, err)
			}
		},
	})
}

// The relay publishes each user's latest notification as a retained message, so it must
// learn which users an import has changed.
func TestTheRelayIsToldOfAnImport(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx, u := testContext(t), fresh()
		if _, leased, err := d.LeaseRelay(ctx, "n", time.Minute); err != nil || !leased {
			t.Fatalf("lease: %v, %v", leased, err)
		}
		_, err := d.ImportNotifications(ctx, past(u, pastID(), 2))
		must(t, err)
		testserver.Eventually(t, 10*time.Second, func() error { // on Postgres, once no older transaction runs in the whole cluster
			users, _, err := d.Touched(ctx, "", 10)
			if err == nil && !slices.Equal(users, []bridge.UserID{u}) {
				err = fmt.Errorf("touched %v, want %s once", users, u)
			}
			return err
		})
	})
}
