package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Service is what the edges call: it checks what comes in, changes the log, and
// wakes devices after the commit. Who may call what is the caller's check, with
// [Claims].
type Service struct {
	o ServiceOptions
}

// ServiceOptions wires a Service. Every field but Audit and Locale is required.
type ServiceOptions struct {
	Log     Log
	History History
	Reports Reports
	Cluster Cluster
	Audit   Audit     // nil: nothing is recorded
	Tracer  Tracer    // nil: nothing is traced here; a call's traceparent is handed on all the same
	Hub     Waker     // wakes this node's devices
	Bus     Publisher // wakes other nodes
	Locale  Locale    // "" means Spanish

	// Created is called with the number of notifications that a call created, and the way
	// they came. It must not block. May be nil.
	Created func(Source, int)
	// KeepStatuses has a report's status notifications stay side by side. Otherwise
	// each replaces the report's earlier ones.
	KeepStatuses bool
}

// Cluster carries the service's orders to every node, and says what the nodes
// registered. Nodes obey within seconds, even if the hint that announces an order
// is lost. Every call may fail with ErrUnavailable.
type Cluster interface {
	// End leaves o for every node. o.Before 0 means every connection there is now.
	End(ctx context.Context, o Order) error

	// Revoke stores r. A later revocation of the same user replaces an earlier one.
	Revoke(ctx context.Context, r Revocation) error

	// Connections returns a page of the live connections of nodes that live. next leads
	// to the following page, nil after the last one. A page may be short, even empty, and
	// have a next one: a call looks at a bounded number of connections.
	Connections(ctx context.Context, q ConnectionQuery) (page []Connection, next *ConnectionCursor, err error)

	// Sessions returns a page of the sessions that have not expired, as Connections does.
	Sessions(ctx context.Context, q SessionQuery) (page []SessionInfo, next *Device, err error)

	// Nodes returns the nodes that live. Connections are counted as they are registered
	// now; the other figures are as of a node's last beat.
	Nodes(ctx context.Context) ([]NodeInfo, error)
}

// Waker wakes this node's devices that a hint concerns. It does not block.
type Waker interface {
	Hint(h Hint)
}

// NewService returns a Service over o.
func NewService(o ServiceOptions) *Service {
	if o.Locale == "" {
		o.Locale = Spanish
	}
	return &Service{o: o}
}

// Notify appends one notification. When it returns nil error, the notification
// is on disk and will be delivered.
func (s *Service) Notify(ctx context.Context, d Draft, key *IdempotencyKey) (Result, error) {
	d, err := d.Check("body")
	if err != nil {
		return Result{}, err
	}
	return s.append(ctx, Command{Drafts: []Draft{d}, Key: key})
}

// NotifyAll appends 1 to MaxBatch notifications, all or none.
func (s *Service) NotifyAll(ctx context.Context, drafts []Draft, key *IdempotencyKey) (Result, error) {
	var bad InvalidError
	if len(drafts) == 0 || len(drafts) > MaxBatch {
		bad.Add("body.notifications", fmt.Sprintf("must have 1 to %d entries", MaxBatch))
		return Result{}, &bad
	}
	checked := make([]Draft, len(drafts))
	for i, d := range drafts {
		c, err := d.Check(fmt.Sprintf("body.notifications[%d]", i))
		var e *InvalidError
		if errors.As(err, &e) && len(bad.Fields) < 100 {
			bad.Fields = append(bad.Fields, e.Fields...)
		}
		checked[i] = c
	}
	if err := bad.Err(); err != nil {
		return Result{}, err
	}
	checked[0].Source = SourceBatch
	return s.append(ctx, Command{Drafts: checked, Key: key})
}

// SetStatus changes a report's status on behalf of by and notifies its owner in one
// transaction.
// The same status again changes nothing and sends no notification. ErrNotFound.
func (s *Service) SetStatus(ctx context.Context, report int64, to Status, by UserID) (Result, error) {
	if !to.Valid() {
		var bad InvalidError
		bad.Add("body.status_id", "must be 1, 2 or 3")
		return Result{}, &bad
	}
	r, err := s.o.Reports.Report(ctx, report)
	if err != nil {
		return Result{}, err
	}
	var replaces string
	if !s.o.KeepStatuses {
		replaces = ReplacesReport(report)
	}
	title, message := s.o.Locale.StatusChanged(r.Title, to)
	return s.append(ctx, Command{
		Change: &StatusChange{Report: report, Status: to, Title: r.Title, User: r.User},
		Drafts: []Draft{{User: r.User, Kind: KindReportStatus, Title: title, Message: message,
			ReportID: report, StatusID: to, Replaces: replaces, By: string(by), Source: SourceReport}},
	})
}

func (s *Service) append(ctx context.Context, c Command) (Result, error) {
	// Items are as old as the call, not as the commit: a mute that committed in
	// between then counts as younger, and its hint makes the hub drop them.
	begun := time.Now()
	c.Traceparent = Traceparent(ctx)
	var end func(error)
	if Sampled(s.o.Tracer, c.Traceparent) {
		c.Traceparent, end = s.o.Tracer.Start(c.Traceparent, SpanCommit, begun)
	}
	res, err := s.o.Log.Append(ctx, c)
	if end != nil {
		end(err)
	}
	if err != nil || res.Replayed || len(res.Appended) == 0 {
		return res, err
	}
	if s.o.Created != nil {
		s.o.Created(sourceOf(c), len(res.Appended))
	}
	s.wake(res.Appended, begun, c.Traceparent)
	return res, nil
}

// sourceOf is the way the notifications of c come.
func sourceOf(c Command) Source {
	switch {
	case c.Change != nil:
		return SourceReport
	case len(c.Drafts) > 0 && c.Drafts[0].Source != "":
		return c.Drafts[0].Source
	}
	return SourceREST
}

// wake wakes the devices of every user in ns, once a user: the log grew.
func (s *Service) wake(ns []Notification, begun time.Time, traceparent string) {
	if len(ns) == 1 { // by far the most common, without a map
		s.wakeUser(ns, begun, traceparent)
		return
	}
	byUser := make(map[UserID][]Notification)
	for _, n := range ns {
		byUser[n.User] = append(byUser[n.User], n)
	}
	for _, of := range byUser {
		s.wakeUser(of, begun, traceparent)
	}
}

func (s *Service) wakeUser(ns []Notification, at time.Time, traceparent string) {
	replaces := slices.ContainsFunc(ns, func(n Notification) bool { return n.Replaces != "" })
	if replaces { // muted ones supersede, too
		s.o.Hub.Hint(Hint{Type: HintMuted, User: ns[0].User})
		s.o.Bus.Publish(Hint{Type: HintState, User: ns[0].User})
	}
	ns = slices.DeleteFunc(slices.Clone(ns), func(n Notification) bool { return n.Muted }) // never delivered
	if len(ns) == 0 {
		return
	}
	first, last := ns[0].Seq, ns[len(ns)-1]
	if replaces {
		// What they superseded may be waiting on this node, so the log is read. Other nodes
		// read it for any hint, as items do not leave the process. Nor does a device that
		// connects between the two hints take these items, of which one may have superseded
		// another.
		ns = nil
	}
	for i := range ns {
		ns[i].Encode()
	}
	h := Hint{Type: HintAppended, User: last.User, Seq: last.Seq, Items: ns, At: at, Traceparent: traceparent, From: first}
	s.o.Hub.Hint(h)
	s.o.Bus.Publish(h)
}

// hint sends h to this node and to the others.
func (s *Service) hint(h Hint) {
	s.o.Hub.Hint(h)
	s.o.Bus.Publish(h)
}

// AddReport stores a report; ErrConflict where its id is taken.
func (s *Service) AddReport(ctx context.Context, r NewReport) (Report, error) {
	r, err := r.Check()
	if err != nil {
		return Report{}, err
	}
	return s.o.Reports.AddReport(ctx, r)
}

// Report returns one report; ErrNotFound.
func (s *Service) Report(ctx context.Context, id int64) (Report, error) {
	return s.o.Reports.Report(ctx, id)
}

// ListReports returns a page of reports, newest first.
func (s *Service) ListReports(ctx context.Context, q ReportQuery) ([]Report, bool, error) {
	return s.o.Reports.ListReports(ctx, q)
}

// List returns a page of a user's history.
func (s *Service) List(ctx context.Context, q Query) (Page, error) { return s.o.History.List(ctx, q) }

// Count returns what a user's inbox holds.
func (s *Service) Count(ctx context.Context, u UserID) (Count, error) {
	return s.o.History.Count(ctx, u)
}

// Find returns one notification by id; ErrNotFound.
func (s *Service) Find(ctx context.Context, id int64) (Notification, error) {
	return s.o.History.Find(ctx, id)
}

// Read marks one notification as read and returns how many stay unread.
func (s *Service) Read(ctx context.Context, u UserID, id int64) (int64, error) {
	unread, err := s.o.History.Read(ctx, u, id)
	return unread, s.announceChange(u, err)
}

// changed says on all nodes that the state of u's inbox changed, unless err is not nil. It
// returns err.
func (s *Service) announceChange(u UserID, err error) error {
	if err == nil {
		s.hint(Hint{Type: HintState, User: u})
	}
	return err
}

// ReadUpTo marks all with Seq <= upTo as read, 0 meaning all, see [History].
func (s *Service) ReadUpTo(ctx context.Context, u UserID, upTo Seq) (unread int64, done bool, err error) {
	unread, done, err = s.o.History.ReadUpTo(ctx, u, upTo)
	return unread, done, s.announceChange(u, err)
}

// Unread marks one notification as unread and returns how many are.
func (s *Service) Unread(ctx context.Context, u UserID, id int64) (int64, error) {
	unread, err := s.o.History.Unread(ctx, u, id)
	return unread, s.announceChange(u, err)
}

// Changes returns what changed of a user's inbox since a rev.
func (s *Service) Changes(ctx context.Context, u UserID, since Rev) (State, error) {
	return s.o.History.Changes(ctx, u, since)
}

// DeleteRead removes all that are read, see [History].
func (s *Service) DeleteRead(ctx context.Context, u UserID) (done bool, err error) {
	if done, err = s.o.History.DeleteRead(ctx, u); err == nil {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return done, err
}

// Delete removes a notification everywhere; ErrNotFound.
func (s *Service) Delete(ctx context.Context, u UserID, id int64) error {
	if err := s.o.History.Delete(ctx, u, id); err != nil {
		return err
	}
	s.hint(Hint{Type: HintMuted, User: u})
	return nil
}

// Withdraw deletes what key stands for in u's inbox, see [History].
func (s *Service) Withdraw(ctx context.Context, u UserID, key string) (deleted int64, err error) {
	if deleted, err = s.o.History.Withdraw(ctx, u, key); err == nil && deleted > 0 {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return deleted, err
}

// Settings returns a user's settings, the defaults where none were chosen.
func (s *Service) Settings(ctx context.Context, u UserID) (Settings, error) {
	return s.o.History.Settings(ctx, u)
}

// ChangeSettings changes a user's settings and returns all, see [History].
func (s *Service) ChangeSettings(ctx context.Context, u UserID, c SettingsChange) (to Settings, done bool, err error) {
	if to, done, err = s.o.History.ChangeSettings(ctx, u, c); err == nil {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return to, done, err
}

// Erase removes everything of a user and ends the user's connections, see [History].
func (s *Service) Erase(ctx context.Context, u UserID) (done bool, err error) {
	if done, err = s.o.History.Erase(ctx, u); err == nil {
		s.hint(Hint{Type: HintMuted, User: u})
		s.hint(Hint{Type: HintEnd, User: u})
	}
	return done, err
}

func (s *Service) order(ctx context.Context, o Order) error {
	if err := s.o.Cluster.End(ctx, o); err != nil {
		return fmt.Errorf("end the connections of %s: %w", o.User, err)
	}
	s.hint(Hint{Type: HintEnd, User: o.User})
	return nil
}

// EndConnections ends a user's connections on every node. The user may connect
// again: see [Service.Revoke].
func (s *Service) EndConnections(ctx context.Context, u UserID) error {
	return s.order(ctx, Order{User: u, Reason: EndAdmin})
}

// EndConnection ends the connection of one device, wherever it is. The device may
// connect again.
func (s *Service) EndConnection(ctx context.Context, d Device) error {
	return s.order(ctx, Order{User: d.User, ClientID: d.ClientID, Reason: EndAdmin})
}

// Ordered has every node look for orders that were stored for u, at once.
func (s *Service) Ordered(u UserID) { s.hint(Hint{Type: HintEnd, User: u}) }

// Connections returns a page of the live connections of all nodes.
func (s *Service) Connections(ctx context.Context, q ConnectionQuery) ([]Connection, *ConnectionCursor, error) {
	return s.o.Cluster.Connections(ctx, q)
}

// Sessions returns a page of the sessions of all devices, connected or not.
func (s *Service) Sessions(ctx context.Context, q SessionQuery) ([]SessionInfo, *Device, error) {
	return s.o.Cluster.Sessions(ctx, q)
}

// Nodes returns the nodes that live, with their figures as of their last beat.
func (s *Service) Nodes(ctx context.Context) ([]NodeInfo, error) { return s.o.Cluster.Nodes(ctx) }

// Revoke takes tokens back on every node, and ends the connections that use them.
// Before is now where it is zero.
func (s *Service) Revoke(ctx context.Context, r Revocation) error {
	if r.User != "" && r.Before.IsZero() {
		r.Before = time.Now()
	}
	r.Before = r.Before.UTC().Truncate(time.Millisecond)
	if err := s.o.Cluster.Revoke(ctx, r); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	s.hint(Hint{Type: HintEnd, User: r.User})
	return nil
}

// Record stores an entry of the audit log. Callers record first and act only if that
// succeeds: so nothing is done without an entry, and an entry may describe what failed.
func (s *Service) Record(ctx context.Context, e AuditEntry) error {
	if s.o.Audit == nil {
		return nil
	}
	return s.o.Audit.Record(ctx, e)
}

// Audited returns a page of the audit log, newest first; before 0: from the newest.
func (s *Service) Audited(ctx context.Context, before int64, limit int) ([]AuditEntry, bool, error) {
	return s.o.Audit.Entries(ctx, before, limit)
}

// Deliveries returns which devices acknowledged a notification.
func (s *Service) Deliveries(ctx context.Context, n Notification) ([]Delivery, error) {
	return s.o.History.Deliveries(ctx, n)
}

// Explain returns what became of a notification.
func (s *Service) Explain(ctx context.Context, id int64) (Explanation, error) {
	return s.o.History.Explain(ctx, id)
}

// Epoch names the life of the log.
func (s *Service) Epoch() string { return s.o.History.Epoch() }
