package broker

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

func stateProperty(v string) []byte {
	return append([]byte{propUser}, appendText(appendText(nil, "state"), v)...)
}

// states is the state of one inbox; each change marks one more notification as read.
type states struct{ rev atomic.Int64 }

func (s *states) Changes(_ context.Context, _ bridge.UserID, since bridge.Rev) (bridge.State, error) {
	state := bridge.State{Rev: bridge.Rev(s.rev.Load()), Last: 40, Unread: 3, Total: 12, ReviewEnabled: 1, Kinds: map[bridge.Kind]int{}}.Refetch()
	if since > state.Rev {
		return state, nil
	}
	state.From = &since
	for id := since; id < state.Rev; id++ {
		state.Read = append(state.Read, int64(id)+1)
	}
	return state, nil
}

func (s *states) Revs(_ context.Context, users []bridge.UserID) (map[bridge.UserID]bridge.Rev, error) {
	return map[bridge.UserID]bridge.Rev{"7": bridge.Rev(s.rev.Load())}, nil
}

func stateWorld(t *testing.T) (*world, *states) {
	s := &states{}
	return newWorldHub(t, Options{}, delivery.Options{States: s}), s
}

func (s *states) change(w *world) {
	s.rev.Add(1)
	w.hub.Hint(bridge.Hint{Type: bridge.HintState, User: "7"})
}

// stateOf checks that m is a state message and returns its payload.
func stateOf(t *testing.T, m message) string {
	t.Helper()
	if m.topic != topic7 || m.head&1 != 0 || !strings.Contains(m.props, "type\x00\x05state") || !strings.Contains(m.props, "epoch\x00\x02e1") ||
		!strings.Contains(m.props, "application/json") || !strings.HasPrefix(m.props, "\x01\x01") || strings.Contains(m.props, "seq") {
		t.Fatalf("not a state message: %+v", m)
	}
	return m.body
}

func TestStateMessages(t *testing.T) {
	for _, transport := range []string{"tcp", "tls", "ws"} {
		t.Run(transport, func(t *testing.T) {
			w, s := stateWorld(t)
			w.notify("7", "retained")
			s.change(w)
			d, plain := w.login(endpoint{transport, 5}, "a", "7"), w.login(endpoint{transport, 5}, "b", "7")
			plain.subscribe(1, []byte{1}, topic7)
			plain.ack(plain.expectMessage())
			d.send(subscribe(5, 1, 1, append(stateProperty("0"), propSubID, 9), topic7))
			d.expect("90 04 00 01 00 01")
			retained := d.expectMessage()
			d.ack(retained)
			m := d.expectMessage()
			want := `{"rev":1,"from":0,"last_seq":40,"unread":3,"total":12,"is_review_enabled":1,"kinds":{},"read_up_to":0,"read":[1],"unread_ids":[],"deleted":[]}`
			if got := stateOf(t, m); got != want || m.head != 0x32 || !strings.Contains(m.props, "\x0b\x09") {
				t.Errorf("%#x, properties %q, got\n%s, want\n%s", m.head, m.props, got, want)
			}
			s.change(w)
			w.notify("7", "live")
			live := d.expectMessage() // the next state waits for the PUBACK of the previous one
			if !strings.Contains(live.body, "live") {
				t.Errorf("a second state message before the first was acknowledged: %+v", live)
			}
			d.ack(live)
			d.ack(m)
			m = d.expectMessage()
			if got := stateOf(t, m); !strings.Contains(got, `"rev":2,"from":1`) || !strings.Contains(got, `"read":[2]`) {
				t.Errorf("the next is %s", got)
			}
			d.ack(m)
			plain.ack(plain.expectMessage())
			plain.alive() // and receives nothing else
			d.alive()
		})
	}
}

func TestStatePropertyOfASubscribe(t *testing.T) {
	for name, tt := range map[string]struct {
		props []byte
		code  byte
	}{
		"a rev":                       {stateProperty("9007199254740991"), 1},
		"over 2^53-1 is malformed":    {stateProperty("9007199254740992"), codeImplementation},
		"a negative is malformed":     {stateProperty("-1"), codeImplementation},
		"an empty value is malformed": {stateProperty(""), codeImplementation},
		"words are malformed":         {stateProperty("all"), codeImplementation},
		"two of them are malformed":   {append(stateProperty("1"), stateProperty("1")...), codeImplementation},
	} {
		w, _ := stateWorld(t)
		d := w.login(endpoint{"tcp", 5}, "a", "7")
		d.send(subscribe(5, 1, 1, tt.props, topic7))
		p := d.expect("90 ..")
		if p[len(p)-1] != tt.code || strings.Contains(string(p), errState.Error()) != (tt.code == codeImplementation) {
			t.Errorf("%s: SUBACK %q, want %#x", name, p, tt.code)
		}
		if tt.code == 1 {
			if got := stateOf(t, d.expectMessage()); !strings.Contains(got, `"from":null`) {
				t.Errorf("%s: a future rev gets %s", name, got)
			}
		}
		d.alive()
	}
}

func TestStateMessagesFitTheDevice(t *testing.T) {
	w, s := stateWorld(t)
	s.rev.Store(150)
	for name, tt := range map[string]struct {
		props []byte
		head  byte
		from  string
	}{
		"Receive Maximum 1":       {[]byte{propReceiveMax, 0, 1}, 0x30, `"from":0`},
		"Receive Maximum 2":       {[]byte{propReceiveMax, 0, 2}, 0x32, `"from":0`},
		"a small maximum packet":  {[]byte{propMaxPacket, 0, 0, 1, 64}, 0x32, `"from":null`},
		"a large maximum packet":  {[]byte{propMaxPacket, 0, 0, 16, 0}, 0x32, `"from":0`},
		"retain as published too": {nil, 0x32, `"from":0`},
	} {
		d := w.dial(endpoint{"tcp", 5})
		d.send(connect{id: name, token: "7", clean: true, keepAlive: 50, props: tt.props}.packet(5))
		d.expectConnack(0)
		d.send(subscribe(5, 1, 1|8, stateProperty("0"), topic7))
		d.expect("90 ..")
		if m := d.expectMessage(); m.head != tt.head || !strings.Contains(stateOf(t, m), tt.from) {
			t.Errorf("%s: %#x %s", name, m.head, m.body)
		}
	}
}

// A device gets no state of another user's inbox, whatever its token lets it subscribe to.
func TestStateOfAnotherUsersInboxIsNotSent(t *testing.T) {
	w, s := stateWorld(t)
	d := w.login(endpoint{"tcp", 5}, "a", "op/notifications:read")
	d.send(subscribe(5, 1, 1, stateProperty("0"), topic7, "users/+/reports/status"))
	d.expect("90 05 00 01 00 01 01")
	own := w.login(endpoint{"tcp", 5}, "a", "7")
	own.send(subscribe(5, 1, 1, stateProperty("0"), topic7))
	own.expect("90 ..")
	own.ack(own.expectMessage())
	s.change(w)
	stateOf(t, own.expectMessage())
	d.alive() // receives nothing
	forbidden := w.login(endpoint{"tcp", 5}, "b", "8")
	forbidden.send(subscribe(5, 1, 1, stateProperty("0"), topic7))
	forbidden.expect("90 04 00 01 00 87")
	s.change(w)
	forbidden.alive()
}
