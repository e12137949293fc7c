package db

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The counts of an inbox stay exact while every operation that changes them runs
// concurrently in random order.
func TestCountsAreExactAfterAnyInterleaving(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		us := []bridge.UserID{fresh(), fresh(), fresh()}
		for _, u := range us {
			seed(t, d, u, 20)
		}
		one := func(r *rand.Rand, u bridge.UserID) error {
			page, err := d.List(ctx, bridge.Query{User: u, Limit: 30})
			if err != nil {
				return err
			}
			var id int64
			if len(page.Items) > 0 {
				id = page.Items[r.IntN(len(page.Items))].ID
			}
			switch r.IntN(8) {
			case 0, 1:
				drafts := make([]bridge.Draft, 1+r.IntN(4))
				for i := range drafts {
					drafts[i] = bridge.Draft{User: us[r.IntN(len(us))], Kind: bridge.KindMessage, Title: "T", Message: "M"}
				}
				_, err = d.Append(ctx, bridge.Command{Drafts: drafts})
			case 2, 3:
				_, err = d.Read(ctx, u, id)
			case 4:
				err = d.Delete(ctx, u, id)
			case 5:
				_, _, err = d.ReadUpTo(ctx, u, page.Count.Last/2)
			case 6:
				err = set(ctx, d, u, bridge.Settings{ReviewEnabled: r.IntN(3) > 0})
			case 7:
				_, err = d.Retain(ctx, time.Now().Add(-100*time.Millisecond), 5)
			}
			if errors.Is(err, bridge.ErrNotFound) {
				err = nil // another goroutine has deleted it
			}
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, 6)
		for w := range errs {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(7, uint64(w)))
				for range 40 {
					errs[w] = errors.Join(errs[w], one(r, us[r.IntN(len(us))]))
				}
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		for _, u := range us {
			checkCounts(t, d, u)
		}
	})
}

// Transactions that take several locks take them in the same order: reports first, then
// inbox rows sorted by user. A deadlock would show as ErrUnavailable.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		us := []bridge.UserID{fresh(), fresh(), fresh(), fresh()}
		var reports []bridge.Report
		for _, u := range us {
			seed(t, d, u, 1)
			reports = append(reports, newReport(t, d, bridge.NewReport{Title: "T", User: u}))
		}
		jobs := []func(i int) error{
			func(i int) error { // a batch for all users, forwards and backwards
				drafts := make([]bridge.Draft, len(us))
				for k, u := range us {
					drafts[k] = bridge.Draft{User: u, Kind: bridge.KindMessage, Title: "T", Message: "M"}
				}
				if i%2 == 0 {
					slices.Reverse(drafts)
				}
				return second(d.Append(ctx, bridge.Command{Drafts: drafts}))
			},
			func(i int) error { // a report and its owner's inbox
				r := reports[i%len(us)]
				return second(d.Append(ctx, bridge.Command{
					Change: &bridge.StatusChange{Report: r.ID, Status: bridge.Status(1 + i%3), Title: r.Title, User: r.User},
					Drafts: []bridge.Draft{{User: r.User, Kind: bridge.KindReportStatus, Title: "T", Message: "M", ReportID: r.ID, StatusID: bridge.Status(1 + i%3)}},
				}))
			},
			func(i int) error { return second(readUpTo(ctx, d, us[i%len(us)], 0)) },
			func(i int) error { return second(d.Retain(ctx, time.Now(), 7)) },
			func(i int) error { // the last user is erased and files a report again
				u := us[len(us)-1]
				if _, err := d.Erase(ctx, u); err != nil {
					return err
				}
				return second(d.AddReport(ctx, bridge.NewReport{Title: "T", User: u, Status: bridge.Pending}))
			},
		}
		var wg sync.WaitGroup
		errs := make([]error, len(jobs))
		for w, job := range jobs {
			wg.Go(func() {
				for i := range 30 {
					if err := job(i); err != nil && !errors.Is(err, bridge.ErrNotFound) {
						errs[w] = errors.Join(errs[w], fmt.Errorf("job %d: %w", w, err))
					}
				}
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		for _, u := range us {
			checkCounts(t, d, u)
		}
	})
}
