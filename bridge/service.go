package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Service is what REST and other edges call. It validates requests, changes the log, and wakes
// devices after the commit. Its callers authorize requests, with [Claims].
type Service struct {
	o ServiceOptions
}

// ServiceOptions sets up a Service. Fields are required unless stated otherwise.
type ServiceOptions struct {
	Log     Log
	History History
	Reports Reports
	Cluster Cluster
	Audit   Audit     // nil: there is no audit log
	Tracer  Tracer    // nil: no spans are recorded; traceparents are passed on nevertheless
	Hub     Waker     // wakes this node's devices
	Bus     Publisher // wakes other nodes
	Locale  Locale    // "" means Spanish

	// Created is called with how notifications were made, and their number. It must not
	// block. May be nil.
	Created func(Source, int)
	// KeepStatuses keeps all status notifications of a report. Otherwise a new one supersedes
	// the earlier ones.
	KeepStatuses bool
}

// Cluster stores orders and revocations for all nodes, and lists what the nodes have
// registered. With delivery.Membership a node registers itself, and reads the orders. Nodes apply orders within seconds, even if the hint that announces one is lost.
// Every call may fail with ErrUnavailable.
type Cluster interface {
	// End stores o for every node. o.Before 0 means all connections that there are now.
	End(ctx context.Context, o Order) error

	// Revoke stores r. A later revocation of the same user replaces an earlier one.
	Revoke(ctx context.Context, r Revocation) error

	// Connections returns a page of the connections of live nodes. next is the cursor of the
	// next page, or nil after the last one. A page may be short or empty although there is a
	// next one, because a call looks at a bounded number of connections.
	Connections(ctx context.Context, q ConnectionQuery) (page []Connection, next *ConnectionCursor, err error)

	// Sessions returns a page of the sessions that have not expired, with a cursor like that
	// of Connections.
	Sessions(ctx context.Context, q SessionQuery) (page []SessionInfo, next *Device, err error)

	// Nodes returns the live nodes. Their number of connections is as registered now; the
	// other figures are as of their last heartbeat.
	Nodes(ctx context.Context) ([]NodeInfo, error)
}

// Waker wakes the devices of this node that a hint concerns. It does not block.
type Waker interface {
	Hint(h Hint)
}

// NewService returns a Service.
func NewService(o ServiceOptions) *Service {
	if o.Locale == "" {
		o.Locale = Spanish
	}
	return &Service{o: o}
}

// Notify appends one notification. When it returns a nil error, the notification is on disk and
// will be delivered. It fails with an [*InvalidError] and as [Log] does.
func (s *Service) Notify(ctx context.Context, d Draft, key *IdempotencyKey) (Result, error) {
	d, err := d.Check("body")
	if err != nil {
		return Result{}, err
	}
	return s.append(ctx, Command{Drafts: []Draft{d}, Key: key})
}

// NotifyAll appends 1 to MaxBatch notifications, all or none. It fails as Notify does; the
// [*InvalidError] has the faults of about the first hundred.
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

// SetStatus changes the status of a report on behalf of by and notifies its owner, in one
// transaction. Setting the same status again changes nothing and sends no notification.
// SetStatus fails with ErrNotFound if there is no such report.
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
	// The age of items counts from the call, not from the commit. A mute that commits in
	// between is then later than the items, and its hint makes the hub discard them.
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

// sourceOf returns how the notifications of c are made.
func sourceOf(c Command) Source {
	switch {
	case c.Change != nil:
		return SourceReport
	case len(c.Drafts) > 0 && c.Drafts[0].Source != "":
		return c.Drafts[0].Source
	}
	return SourceREST
}

// wake sends hints that the logs of the users in ns have grown, one for each user.
func (s *Service) wake(ns []Notification, begun time.Time, traceparent string) {
	if len(ns) == 1 { // by far the most common case, which needs no map
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
	if replaces { // muted notifications supersede, too
		s.o.Hub.Hint(Hint{Type: HintMuted, User: ns[0].User})
		s.o.Bus.Publish(Hint{Type: HintState, User: ns[0].User})
	}
	ns = slices.DeleteFunc(slices.Clone(ns), func(n Notification) bool { return n.Muted }) // never delivered
	if len(ns) == 0 {
		return
	}
	first, last := ns[0].Seq, ns[len(ns)-1]
	if replaces {
		// What they superseded may be cached on this node, so pumps have to read the log. Other
		// nodes always do, because items do not leave the process. Nor may a device that
		// connects between the two hints get these items, because one of them may have
		// superseded another.
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

// AddReport stores a report. It fails with an [*InvalidError], or with ErrConflict if the id
// exists already.
func (s *Service) AddReport(ctx context.Context, r NewReport) (Report, error) {
	r, err := r.Check()
	if err != nil {
		return Report{}, err
	}
	return s.o.Reports.AddReport(ctx, r)
}

// Report returns a report. It fails with ErrNotFound.
func (s *Service) Report(ctx context.Context, id int64) (Report, error) {
	return s.o.Reports.Report(ctx, id)
}

// ListReports returns a page of reports, newest first.
func (s *Service) ListReports(ctx context.Context, q ReportQuery) ([]Report, bool, error) {
	return s.o.Reports.ListReports(ctx, q)
}

// List returns a page of a user's history.
func (s *Service) List(ctx context.Context, q Query) (Page, error) { return s.o.History.List(ctx, q) }

// Count returns the number of notifications in a user's inbox.
func (s *Service) Count(ctx context.Context, u UserID) (Count, error) {
	return s.o.History.Count(ctx, u)
}

// Find returns a notification by id. It fails with ErrNotFound.
func (s *Service) Find(ctx context.Context, id int64) (Notification, error) {
	return s.o.History.Find(ctx, id)
}

// Read marks one notification as read and returns how many remain unread.
func (s *Service) Read(ctx context.Context, u UserID, id int64) (int64, error) {
	unread, err := s.o.History.Read(ctx, u, id)
	return unread, s.announceChange(u, err)
}

// announceChange tells all nodes that the state of u's inbox changed, if err is nil. It returns
// err.
func (s *Service) announceChange(u UserID, err error) error {
	if err == nil {
		s.hint(Hint{Type: HintState, User: u})
	}
	return err
}

// ReadUpTo marks all notifications with Seq <= upTo as read, or with upTo 0 all; see [History].
func (s *Service) ReadUpTo(ctx context.Context, u UserID, upTo Seq) (unread int64, done bool, err error) {
	unread, done, err = s.o.History.ReadUpTo(ctx, u, upTo)
	return unread, done, s.announceChange(u, err)
}

// Unread marks one notification as unread and returns how many are unread.
func (s *Service) Unread(ctx context.Context, u UserID, id int64) (int64, error) {
	unread, err := s.o.History.Unread(ctx, u, id)
	return unread, s.announceChange(u, err)
}

// Changes returns what changed of a user's inbox since a rev.
func (s *Service) Changes(ctx context.Context, u UserID, since Rev) (State, error) {
	return s.o.History.Changes(ctx, u, since)
}

// DeleteRead removes all read notifications; see [History].
func (s *Service) DeleteRead(ctx context.Context, u UserID) (done bool, err error) {
	if done, err = s.o.History.DeleteRead(ctx, u); err == nil {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return done, err
}

// Delete removes a notification. It fails with ErrNotFound.
func (s *Service) Delete(ctx context.Context, u UserID, id int64) error {
	if err := s.o.History.Delete(ctx, u, id); err != nil {
		return err
	}
	s.hint(Hint{Type: HintMuted, User: u})
	return nil
}

// Withdraw deletes the notification with key in u's inbox; see [History].
func (s *Service) Withdraw(ctx context.Context, u UserID, key string) (deleted int64, err error) {
	if deleted, err = s.o.History.Withdraw(ctx, u, key); err == nil && deleted > 0 {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return deleted, err
}

// Settings returns a user's settings, or the defaults if the user has none.
func (s *Service) Settings(ctx context.Context, u UserID) (Settings, error) {
	return s.o.History.Settings(ctx, u)
}

// ChangeSettings changes a user's settings and returns all of them; see [History].
func (s *Service) ChangeSettings(ctx context.Context, u UserID, c SettingsChange) (to Settings, done bool, err error) {
	if to, done, err = s.o.History.ChangeSettings(ctx, u, c); err == nil {
		s.hint(Hint{Type: HintMuted, User: u})
	}
	return to, done, err
}

// Erase removes everything about a user and ends the user's connections; see [History].
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

// EndConnections ends a user's connections on every node. The user may connect again;
// [Service.Revoke] prevents that.
func (s *Service) EndConnections(ctx context.Context, u UserID) error {
	return s.order(ctx, Order{User: u, Reason: EndAdmin})
}

// EndConnection ends the connection of one device, wherever it is. The device may
// connect again.
func (s *Service) EndConnection(ctx context.Context, d Device) error {
	return s.order(ctx, Order{User: d.User, ClientID: d.ClientID, Reason: EndAdmin})
}

// Ordered makes every node poll at once for orders that were stored for u.
func (s *Service) Ordered(u UserID) { s.hint(Hint{Type: HintEnd, User: u}) }

// Connections returns a page of the live connections of all nodes.
func (s *Service) Connections(ctx context.Context, q ConnectionQuery) ([]Connection, *ConnectionCursor, error) {
	return s.o.Cluster.Connections(ctx, q)
}

// Sessions returns a page of the sessions of all devices, connected or not.
func (s *Service) Sessions(ctx context.Context, q SessionQuery) ([]SessionInfo, *Device, error) {
	return s.o.Cluster.Sessions(ctx, q)
}

// Nodes returns the live nodes, with their figures as of their last heartbeat.
func (s *Service) Nodes(ctx context.Context) ([]NodeInfo, error) { return s.o.Cluster.Nodes(ctx) }

// Revoke revokes tokens on every node, and ends the connections that use them. With a user and
// a zero Before, it revokes the tokens issued until now.
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

// Record stores an entry in the audit log. Callers record first and act only if that succeeds.
// So nothing is done without an entry, and an entry may be about an action that failed.
func (s *Service) Record(ctx context.Context, e AuditEntry) error {
	if s.o.Audit == nil {
		return nil
	}
	return s.o.Audit.Record(ctx, e)
}

// Audited returns a page of the audit log, newest first: at most limit entries with an ID below
// before, or with 0 from the newest on.
func (s *Service) Audited(ctx context.Context, before int64, limit int) ([]AuditEntry, bool, error) {
	return s.o.Audit.Entries(ctx, before, limit)
}

// Deliveries returns which devices have acknowledged a notification; see [History].
func (s *Service) Deliveries(ctx context.Context, n Notification) ([]Delivery, error) {
	return s.o.History.Deliveries(ctx, n)
}

// Explain returns what became of a notification; see [History].
func (s *Service) Explain(ctx context.Context, id int64) (Explanation, error) {
	return s.o.History.Explain(ctx, id)
}

// Epoch identifies the history of the log; see [History].
func (s *Service) Epoch() string { return s.o.History.Epoch() }
