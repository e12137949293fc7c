package crashtest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const (
	lateUsers = 100 // so many that most pushes are for a single notification
	commuters = 20  // how many of these users connect now and then
	lateBatch = 20  // notifications per post
	lateEvery = 100 * time.Millisecond
	grace     = time.Second // how long after an acknowledgement an attempt may still begin
)

// note identifies a notification.
type note struct {
	user bridge.UserID
	seq  bridge.Seq
}

// attempts records the requests to the push service and to the receiver of webhooks.
type attempts struct {
	mu      sync.Mutex
	service string                       // the URL of the push service
	private *ecdh.PrivateKey             // shared by all devices
	pushes  map[note][]time.Time         // when the attempts began
	summed  map[bridge.UserID]bridge.Seq // the highest seq in a summary
	posts   map[note][]time.Time         // when the attempts began
	ids     map[note]string              // the webhook-id of the attempts for each notification
	faults  []string
}

// fault records a fault, of which the first five are reported.
func (a *attempts) fault(format string, args ...any) {
	if len(a.faults) < 5 {
		a.faults = append(a.faults, fmt.Sprintf(format, args...))
	}
}

// webhook records a webhook. Its timestamp is the time when the attempt began.
func (a *attempts) webhook(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Timestamp time.Time
		Data      struct {
			Seq bridge.Seq
			To  bridge.UserID `json:"created_by"`
		}
	}
	err := json.NewDecoder(r.Body).Decode(&b)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		return // the process was killed while it was sending
	}
	n, id := note{b.Data.To, b.Data.Seq}, r.Header.Get("webhook-id")
	if old, ok := a.ids[n]; ok && old != id {
		a.fault("%v has the webhook-ids %s and %s", n, old, id)
	}
	a.ids[n] = id
	a.posts[n] = append(a.posts[n], b.Timestamp)
	w.WriteHeader(http.StatusNoContent)
}

// push records a push. Its VAPID token expires twelve hours after the second in which the attempt
// began.
func (a *attempts) push(w http.ResponseWriter, r *http.Request) {
	sealed, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process was killed while it was sending
	}
	user := bridge.UserID(strings.TrimPrefix(r.URL.Path, "/"))
	var p struct {
		Notification struct {
			Data struct {
				Seq     bridge.Seq
				To      bridge.UserID `json:"created_by"`
				Summary int
				Last    bridge.Seq `json:"last_seq"`
			}
		}
	}
	text, err := unseal(a.private, sealed)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	began, failed := tokenBegan(r.Header.Get("Authorization"))
	a.mu.Lock()
	defer a.mu.Unlock()
	switch d := p.Notification.Data; {
	case err != nil || failed != nil:
		a.fault("an invalid push: %v, %v", err, failed)
	case d.Summary > 0:
		a.summed[user] = max(a.summed[user], d.Last)
	case d.To != user:
		a.fault("the device of user %s was sent a notification of %s", user, d.To)
	default:
		n := note{user, d.Seq}
		a.pushes[n] = append(a.pushes[n], began)
	}
	w.WriteHeader(http.StatusCreated)
}

// tokenBegan returns when a VAPID token was made, rounded down to a second.
func tokenBegan(header string) (time.Time, error) {
	parts := strings.Split(header, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("no VAPID token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Exp int64 }
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	return time.Unix(claims.Exp, 0).Add(-12 * time.Hour), err
}

// unseal decrypts aes128gcm with one record (RFC 8188, RFC 8291). The authentication secret of the
// test's devices is all zeros.
func unseal(private *ecdh.PrivateKey, b []byte) ([]byte, error) {
	if len(b) < 86 || b[20] != 65 {
		return nil, errors.New("the header of aes128gcm is missing")
	}
	salt, sender, sealed := b[:16], b[21:86], b[86:]
	if size := binary.BigEndian.Uint32(b[16:20]); int(size) < len(sealed) {
		return nil, errors.New("more than one record")
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		var key []byte
		if err == nil {
			key, err = hkdf.Key(sha256.New, secret, salt, info, n)
		}
		return key
	}
	input := derive(shared, make([]byte, 16), "WebPush: info\x00"+string(private.PublicKey().Bytes())+string(sender), 32)
	key := derive(input, salt, "Content-Encoding: aes128gcm\x00", 16)
	nonce := derive(input, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	text, err := gcm.Open(nil, nonce, sealed, nil)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(bytes.TrimRight(text, "\x00"), []byte{2}), nil
}

// late consists of two nodes that send late notifications, and records what happened to these.
type late struct {
	*fleet
	*attempts
	db *sql.DB

	noteMu  sync.Mutex
	created []note
	handled map[note]time.Time // when the acknowledgement or the read was known to be on disk
}

// newAttempts starts a push service and a receiver of webhooks, and returns the settings
// of nodes that send to them.
func newAttempts(t *testing.T) (a *attempts, settings []string) {
	t.Helper()
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a = &attempts{private: private, pushes: make(map[note][]time.Time), summed: make(map[bridge.UserID]bridge.Seq),
		posts: make(map[note][]time.Time), ids: make(map[note]string)}
	hooks := httptest.NewServer(http.HandlerFunc(a.webhook))
	t.Cleanup(hooks.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	service, env := testserver.NewPushService(t, a.push)
	a.service = service
	for name, value := range env {
		settings = append(settings, name+"="+value)
	}
	return a, append(settings, "FALCON_REQUEST_RATE_PER_USER=off", "FALCON_WEBHOOK_URL="+hooks.URL, "FALCON_WEBHOOK_SECRET_FILE="+secret)
}

// register registers u's device phone with the push service.
func (a *attempts) register(f *fleet, u bridge.UserID) {
	f.t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	body := fmt.Sprintf(`{"push":{"endpoint":"%s/%s","keys":{"p256dh":"%s","auth":"%s"}}}`,
		a.service, u, encode(a.private.PublicKey().Bytes()), encode(make([]byte, 16)))
	if resp, _, err := f.call(http.MethodPut, "/devices/phone", sign(f.t, u, 0), body); err != nil || resp.StatusCode != http.StatusNoContent {
		f.t.Fatalf("register a device: %v, %v", resp, err)
	}
}

// newLate starts two nodes over one Postgres whose pushes and webhooks are due after a second, and
// returns once one of them follows the log.
func newLate(t *testing.T) *late {
	t.Helper()
	a, settings := newAttempts(t)
	settings = append(settings, "FALCON_PUSH_AFTER=1s", "FALCON_WEBHOOK_WHEN=unacknowledged 1s")
	postgres := testserver.Postgres(t)
	l := &late{attempts: a, handled: make(map[note]time.Time)}
	l.fleet = newFleet(t, 2, func(i int) []string { return append(withDatabase(postgres)(i), settings...) })
	l.db = sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(postgres)))
	t.Cleanup(func() { _ = l.db.Close() })
	for _, u := range users(lateUsers) {
		a.register(l.fleet, u)
	}
	testserver.Eventually(t, 30*time.Second, func() error { // a node follows once a position is stored
		var n int
		if err := l.db.QueryRow("SELECT count(*) FROM falcon_leases WHERE name = 'late' AND state <> ''").Scan(&n); err != nil || n == 0 {
			return fmt.Errorf("no node follows: %w", err)
		}
		return nil
	})
	return l
}

func (l *late) call(method, path, token, body string) (status int, err error) {
	resp, _, err := l.fleet.call(method, path, token, body)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// post posts a batch every lateEvery until ctx ends. A fifth of the notifications are read at a
// random moment around the one when they are due.
func (l *late) post(ctx context.Context, readers *sync.WaitGroup) {
	app, us := sign(l.t, "app", bridge.ScopeWrite), users(lateUsers)
	tokens := make(map[bridge.UserID]string)
	for _, u := range us {
		tokens[u] = sign(l.t, u, 0)
	}
	tick := time.NewTicker(lateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list := make([]body, lateBatch)
		for i := range list {
			list[i] = body{"title", "message", us[mathrand.IntN(len(us))]}
		}
		text, err := json.Marshal(map[string]any{"notifications": list})
		if err != nil {
			l.t.Error(err)
			return
		}
		for _, c := range l.batch(app, rand.Text(), text) {
			l.noteMu.Lock()
			l.created = append(l.created, note{c.To, c.Seq})
			l.noteMu.Unlock()
			if mathrand.IntN(5) > 0 {
				continue
			}
			readers.Go(func() {
				<-time.After(time.Duration(mathrand.IntN(2500)) * time.Millisecond)
				l.read(note{c.To, c.Seq}, c.ID, tokens[c.To])
			})
		}
	}
}

// created is an entry in the response to a batch.
type created struct {
	ID  int64
	Seq bridge.Seq
	To  bridge.UserID `json:"created_by"`
}

// batch posts a batch until the response is 201.
func (l *late) batch(app, key string, text []byte) []created {
	var response struct{ Notifications []created }
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		status, b, err := l.send("/notifications/batch", app, key, text)
		if err == nil && status == http.StatusCreated && json.Unmarshal(b, &response) == nil {
			return response.Notifications
		}
	}
	l.t.Errorf("a batch got no 201 within %v", waitLimit)
	return nil
}

// read marks a notification as read, and records the time of the response.
func (l *late) read(n note, id int64, token string) {
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if status, err := l.call(http.MethodPost, fmt.Sprintf("/notifications/%d/read", id), token, ""); err == nil && status < 300 {
			l.handle(n, time.Now())
			return
		}
	}
	l.t.Errorf("%v could not be marked as read within %v", n, waitLimit)
}

// handle records that a notification was acknowledged or read at the time at or earlier.
func (l *late) handle(n note, at time.Time) {
	l.noteMu.Lock()
	defer l.noteMu.Unlock()
	if _, ok := l.handled[n]; !ok {
		l.handled[n] = at
	}
}

// commute subscribes u's registered device and returns a function that, until ctx ends, connects
// it now and then, receives what is waiting and leaves without a DISCONNECT. The subscription must
// exist before the posts begin, because earlier notifications count as skipped by a session.
func (l *late) commute(u bridge.UserID) func(ctx context.Context) {
	l.t.Helper()
	token := sign(l.t, u, 0)
	if err := l.visit(l.t.Context(), u, token, true); err != nil {
		l.t.Fatal(err)
	}
	return func(ctx context.Context) {
		for pause(ctx, 1000, 3000) {
			_ = l.visit(ctx, u, token, false) // it fails if the node is being killed
		}
	}
}

// visit connects u's device for a moment. The first visit subscribes it.
func (l *late) visit(ctx context.Context, u bridge.UserID, token string, first bool) error {
	nc, err := l.dial()
	if err != nil {
		return err
	}
	defer nc.Close()
	c := paho.NewClient(paho.ClientConfig{ClientID: "phone", Conn: nc, PacketTimeout: 3 * time.Second})
	expiry := uint32(3600)
	ack, err := c.Connect(ctx, &paho.Connect{ClientID: "phone", KeepAlive: 30, UsernameFlag: true, Username: "device", PasswordFlag: true, Password: []byte(token),
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry}})
	switch {
	case err != nil:
		return err
	case first:
		_, err = c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: bridge.Topics{}.Status(u), QoS: 1}}})
		return err
	case !ack.SessionPresent:
		l.t.Errorf("the session of user %s is gone", u)
	}
	pause(ctx, 200, 1000)
	return nil
}

// pause waits for at least from and less than to milliseconds. It returns false if ctx ends first.
func pause(ctx context.Context, from, to int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(from+mathrand.IntN(to-from)) * time.Millisecond):
		return true
	}
}

// watch records which acknowledgements are on disk, until ctx ends.
func (l *late) watch(ctx context.Context) {
	for pause(ctx, 20, 60) {
		rows, err := l.db.Query(`SELECT user_id, from_seq, acked_seq FROM falcon_sessions WHERE client_id = 'phone'
			UNION ALL SELECT user_id, from_seq, acked_seq FROM falcon_acks`)
		if err != nil {
			l.t.Error(err)
			return
		}
		at := time.Now() // the rows were on disk before this
		for rows.Next() {
			var u string
			var from, to bridge.Seq
			if err := rows.Scan(&u, &from, &to); err != nil {
				l.t.Error(err)
			}
			for seq := from + 1; seq <= to; seq++ {
				l.handle(note{bridge.UserID(u), seq}, at)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			l.t.Error(err)
		}
	}
}

// holder returns which node holds the follower's lease, and until when.
func (l *late) holder() (node string, until int64) {
	if err := l.db.QueryRow("SELECT node, held_until FROM falcon_leases WHERE name = 'late'").Scan(&node, &until); err != nil {
		l.t.Error(err)
	}
	return node, until
}

// killAndRestart kills x at a random moment, and starts it again once the other node is the
// follower.
func (l *late) killAndRestart(x *node) {
	pause(context.Background(), 1000, 2500)
	x.end(syscall.SIGKILL)
	_, until := l.holder()
	testserver.Eventually(l.t, 30*time.Second, func() error {
		if _, now := l.holder(); now == until {
			return errors.New("no node follows")
		}
		return nil
	})
	x.start(l.t, testserver.Binary(l.t))
	x.ready(l.t)
}

// check waits until every notification that was neither acknowledged nor read has been sent by both
// Web Push and webhook. It then compares the times of attempts with those of acknowledgements.
func (l *late) check() {
	l.t.Helper()
	testserver.Eventually(l.t, waitLimit, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		missing := 0
		for _, n := range l.created {
			if _, ok := l.handled[n]; ok {
				continue
			}
			if len(l.posts[n]) == 0 || len(l.pushes[n]) == 0 && l.summed[n.user] < n.seq {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d lack a push or a webhook", missing, len(l.created))
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	repeats, prevented := 0, 0
	for n, began := range l.posts {
		repeats += len(began) - 1
		l.checkAttempts("posted", n, began)
	}
	for n, began := range l.pushes {
		repeats += len(began) - 1
		l.checkAttempts("pushed", n, began)
	}
	for n := range l.handled {
		if len(l.posts[n])+len(l.pushes[n]) == 0 {
			prevented++
		}
	}
	l.checkRepeats()
	for _, f := range l.faults {
		l.t.Error(f)
	}
	if prevented == 0 {
		l.t.Error("no acknowledgement prevented an attempt")
	}
	l.t.Logf("%d notifications, %d acknowledged or read, %d of them before any attempt; %d webhooks, %d pushes, %d repeats",
		len(l.created), len(l.handled), prevented, len(l.posts), len(l.pushes), repeats)
}

// checkAttempts records a fault for each attempt that began too long after the notification was
// handled.
func (l *late) checkAttempts(how string, n note, began []time.Time) {
	at, ok := l.handled[n]
	for _, b := range began {
		if ok && b.After(at.Add(grace)) {
			l.fault("%v was %s at %v, %v after it was acknowledged or read", n, how, b, b.Sub(at))
		}
	}
}

// checkRepeats records a fault if an attempt began after an earlier one had been recorded as done.
func (l *late) checkRepeats() {
	rows, err := l.db.Query("SELECT user_id, seq, done_at FROM falcon_late WHERE state = 1 AND client_id = ''")
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n note
		var done int64
		if err := rows.Scan(&n.user, &n.seq, &done); err != nil {
			l.t.Fatal(err)
		}
		for _, b := range l.posts[n] {
			if b.UnixMilli() > done {
				l.fault("%v was posted again at %v, although success had been recorded at %v", n, b, time.UnixMilli(done))
			}
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
}

// Two nodes are killed at random moments, one of them certainly while it is the follower, under 200
// late notifications per second. No late notification is left out, no attempt that was recorded as
// done is repeated, and none begins more than a second after an acknowledgement or a read.
func TestKilledNodesSendAllLateNotifications(t *testing.T) {
	l := newLate(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	var posting, readers, watcher sync.WaitGroup
	for _, u := range users(commuters) {
		commute := l.commute(u)
		posting.Go(func() { commute(ctx) })
	}
	posting.Go(func() { l.post(ctx, &readers) })
	watcher.Go(func() { l.watch(watching) })
	first := mathrand.IntN(2)
	for i := range kills(t, 2) {
		l.killAndRestart(l.nodes[(first+i)%2])
	}
	pause(ctx, 1000, 1001)
	cancel()
	posting.Wait()
	readers.Wait()
	l.check()
	stop()
	watcher.Wait()
}
